import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LAYOUT_IDS, Layout } from '../../src/web/layouts.ts'

const ASCII = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i))

test('every layout writes all ASCII characters, each by different keys', () => {
  for (const id of LAYOUT_IDS) {
    const layout = new Layout(id)
    const seen = new Set<string>()
    for (const character of [...ASCII, '\n', '\t']) {
      const chords = layout.chordsOf(character, false)
      assert.ok(chords, `${id}: ${character}`)
      assert.ok(chords.flat().every((key) => key !== undefined))
      seen.add(JSON.stringify(chords))
    }
    assert.equal(seen.size, ASCII.length + 2, id)
  }
})

test('characters have the keys of their layouts', () => {
  const keys = (id: (typeof LAYOUT_IDS)[number], character: string): string =>
    (new Layout(id).chordsOf(character, false) ?? []).map((chord) => chord.join('+')).join(' ')
  assert.equal(keys('us', '"'), 'ShiftLeft+Quote')
  assert.equal(keys('gb', '"'), 'ShiftLeft+Digit2')
  assert.equal(keys('gb', '£'), 'ShiftLeft+Digit3')
  assert.equal(keys('gb', '#'), 'Backslash')
  assert.equal(keys('gb', '\\'), 'IntlBackslash')
  assert.equal(keys('de', 'z'), 'KeyY')
  assert.equal(keys('de', '{'), 'AltRight+Digit7')
  assert.equal(keys('de', 'Ö'), 'ShiftLeft+Semicolon')
  assert.equal(keys('de', '^'), 'Backquote Space')
  assert.equal(keys('de', 'é'), 'Equal KeyE')
  assert.equal(keys('de', 'À'), 'ShiftLeft+Equal ShiftLeft+KeyA')
  assert.equal(keys('fr', 'a'), 'KeyQ')
  assert.equal(keys('fr', '1'), 'ShiftLeft+Digit1')
  assert.equal(keys('fr', 'é'), 'Digit2')
  assert.equal(keys('fr', 'ï'), 'ShiftLeft+BracketLeft KeyI')
  assert.equal(keys('fr', '@'), 'AltRight+Digit0')
  for (const character of ['é', '€', '漢', '\x07']) assert.equal(new Layout('us').chordsOf(character, false), undefined)
})

test('Caps Lock changes only the keys of letters', () => {
  const french = new Layout('fr')
  assert.deepEqual(french.chordsOf('a', true), [['ShiftLeft', 'KeyQ']])
  assert.deepEqual(french.chordsOf('A', true), [['KeyQ']])
  assert.deepEqual(french.chordsOf('é', true), [['Digit2']])
  assert.deepEqual(french.chordsOf('ê', true), [['BracketLeft'], ['ShiftLeft', 'KeyE']])
})
