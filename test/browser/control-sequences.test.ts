import assert from 'node:assert/strict'
import { test } from 'node:test'
import xterm from '@xterm/xterm'
import fc from 'fast-check'
import { ControlSequences } from '../../src/web/control-sequences.ts'

const SIZE = { cols: 80, rows: 24 }

/** Returns the output that passes, of pieces. */
function bound(...pieces: string[]): string {
  const sequences = new ControlSequences(() => SIZE)
  return pieces.map((piece) => sequences.bound(piece)).join('')
}

test('text and sequences with small numbers pass unchanged', () => {
  for (const output of [
    'plain, grün, 中文, 😀\r\n\t',
    '\x1b[1;31mred\x1b[0m \x1b[38:2::255:128:0mtrue colour\x1b[m',
    '\x1b[?2004h\x1b[?1049h\x1b[2J\x1b[12;40H\x1b[5L\x1b[!p\x1b[3 q\x1b7\x1b(0\x1b#8\x1bc',
    'x\x1b[1920b\x1b[24S\x1b[80I',
    '\x1b]0;title\x07\x1b]8;id=1;http://example.org/\x07link',
  ]) {
    assert.equal(bound(output), output)
    assert.equal(bound(...output.split('')), output)
  }
})

test('counts are bounded by the size of the terminal, other parameters by 9999', () => {
  assert.equal(bound('x\x1b[2147483647b'), 'x\x1b[1920b')
  assert.equal(bound('\x1b[2147483647;1b'), '\x1b[1920;1b')
  for (const final of 'LMST') assert.equal(bound(`\x1b[99999${final}`), `\x1b[24${final}`)
  for (const final of 'IZ') assert.equal(bound(`\x1b[99999${final}`), `\x1b[80${final}`)
  assert.equal(bound('\x1b[32766;32766H'), '\x1b[9999;9999H')
  assert.equal(bound('\x1b[38:2:99999999:1m'), '\x1b[38:2:9999:1m')
  assert.equal(bound(`\x1b[${'9'.repeat(99)}A`), '\x1b[9999A')
})

test('a sequence in any number of pieces passes when it is complete', () => {
  assert.equal(bound('x\x1b', '[', '21474', '83647', 'b', 'y'), 'x\x1b[1920by')
  assert.equal(bound('x\x1b[21474'), 'x')
  assert.equal(bound('\x1b]0;ti', 'tle', '\x1b', '\\'), '\x1b]0;title\x07\x1b\\')
})

test('a device control string passes with a terminator', () => {
  assert.equal(bound('\x1bP$qm\x1b\\'), '\x1bP$qm\x1b\\\x1b\\')
  assert.equal(bound('\x1bP99999$qm\x18'), '')
})

test('C1 controls are replaced by their 7-bit sequences', () => {
  assert.equal(bound('x\x9b2147483647b'), 'x\x1b[1920b')
  assert.equal(bound('\x9d0;title\x9c'), '\x1b]0;title\x07\x1b\\')
  assert.equal(bound('\x90$qm\x9c'), '\x1bP$qm\x1b\\\x1b\\')
})

test('control characters within a sequence take effect before it, and are not part of its parameters', () => {
  assert.equal(bound('x\x1b[21474\r83647b'), 'x\r\x1b[1920b')
  assert.equal(bound('\x1b[1\x7f2A'), '\x1b[12A')
})

test('malformed, cancelled and too long sequences are dropped', () => {
  assert.equal(bound('a\x1b[12?5hb'), 'ab')
  assert.equal(bound('a\x1b[99\x18b'), 'ab')
  assert.equal(bound('a\x1b[99\x1b[1mb'), 'a\x1b[1mb')
  assert.equal(bound(`a\x1b[${'1;'.repeat(200)}mb`), 'ab')
  assert.equal(bound(`a\x1b]4;${'1;?;'.repeat(5000)}\x07b`), 'ab')
  assert.equal(bound('a\x1b_apc\x1b\\b'), 'a\x1b\\b')
})

test('for random output in random pieces, no number above the bounds reaches the terminal', async () => {
  const terminal = new xterm.Terminal({ ...SIZE, allowProposedApi: true, logLevel: 'off' })
  const seen: string[] = []
  for (let final = 0x40; final < 0x7f; final++) {
    for (const prefix of ['', '?', '>', '=', '<']) {
      for (const intermediates of ['', ' ', "'", '$', '!', '"']) {
        terminal.parser.registerCsiHandler({ prefix, intermediates, final: String.fromCharCode(final) }, (params) => {
          const most = Math.max(...params.flat())
          if (most > 9999) seen.push(`${most} of ${prefix}${intermediates}${String.fromCharCode(final)}`)
          if (`${prefix}${intermediates}` === '' && final === 0x62 && most > 1920) seen.push(`${most} of REP`)
          return true
        })
      }
    }
  }
  const part = fc.oneof(
    fc.constantFrom('\x1b', '\x1b[', '\x9b', '\x1b]', '\x1bP', '\x1b\\', '\x9c', '\x07', '\x18', '\x1a', '\x7f'),
    fc.constantFrom('99999', '2147483647', ';', ':', '?', ' ', "'", '$', '!', '\n', 'é', '中', '\x85', '\x90'),
    fc.constantFrom('b', 'L', 'm', 'H', 'S', '}', 't', 'q', 'x'),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: part, minLength: 1, maxLength: 6 }), { maxLength: 30 }),
      async (pieces) => {
        const sequences = new ControlSequences(() => SIZE)
        const output = pieces.map((piece) => sequences.bound(piece)).join('')
        await new Promise<void>((resolve) => terminal.write(output, resolve))
        assert.deepEqual(seen, [], JSON.stringify(output))
      },
    ),
  )
})
