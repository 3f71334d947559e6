import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import type { DeviceInspection } from '../../src/machine/machine.ts'
import { Layout, type LayoutId } from '../../src/web/layouts.ts'
import { until } from '../until.ts'
import { PageRig, skip } from './page-rig.ts'

const rig = new PageRig()

/** Returns the machine's key calls for a text, on a layout. */
function keysOf(text: string, layout: LayoutId = 'us'): string[] {
  const codes: Record<string, number> = {
    ...{ ShiftLeft: 42, AltRight: 100, Space: 57, Enter: 28, Tab: 15, Quote: 40, Digit1: 2, Digit4: 5, Equal: 13 },
    ...{ KeyA: 30, KeyB: 48, KeyE: 18, KeyH: 35, KeyI: 23, KeyQ: 16, KeyZ: 44, KeyY: 21, Backspace: 14 },
  }
  return [...text].flatMap((character) =>
    (new Layout(layout).chordsOf(character, false) ?? []).flatMap((chord) => [
      ...chord.map((key) => `key ${codes[key]} down`),
      ...chord.toReversed().map((key) => `key ${codes[key]} up`),
    ]),
  )
}

async function types(text: string, layout?: LayoutId): Promise<void> {
  const expected = keysOf(text, layout)
  assert.deepEqual(await rig.calls(/^key/, expected.length), expected)
  rig.machine.calls.length = 0
}

async function paste(page: Page, text: string): Promise<void> {
  await page.locator('.screen').focus()
  await page.evaluate((pasted) => {
    // biome-ignore lint/suspicious/noExplicitAny: the browser's globals are not those of this program
    const scope = globalThis as any
    const clipboardData = new scope.DataTransfer()
    clipboardData.setData('text/plain', pasted)
    scope.document.activeElement.dispatchEvent(new scope.ClipboardEvent('paste', { clipboardData, cancelable: true }))
  }, text)
}

/** Inspection of a keyboard with a number of events that the guest has not read. */
function keyboardWith(waiting: number): DeviceInspection {
  const rest = { status: [], offered: [], negotiated: [], queues: [] }
  return { name: 'keyboard', id: 18, ...rest, state: { waiting } }
}

test('pasted and dictated text is typed on the US keyboard, including line ends and Shift', { skip }, async () => {
  const page = await rig.open()
  await paste(page, 'Hi "A"!\r\nb\te')
  await types('Hi "A"!\nb\te')
  await page.keyboard.insertText('Ab ')
  await types('Ab ')
})

test('text that an input method composes is typed once, when it is complete', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  const session = await page.context().newCDPSession(page)
  for (const text of ['h', 'hi', 'hib']) {
    await session.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length })
  }
  assert.deepEqual(await rig.calls(/^key/, 0), [])
  await session.send('Input.insertText', { text: 'Hib' })
  await types('Hib')
  await page.keyboard.press('KeyA')
  await types('a')
})

test('keys and edits of an on-screen keyboard without key positions are typed', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  await page.evaluate(`for (const inputType of ['insertLineBreak', 'deleteContentBackward'])
    document.activeElement.dispatchEvent(new InputEvent('beforeinput', { inputType, cancelable: true }))`)
  await page.evaluate(`for (const type of ['keydown', 'keyup'])
    document.activeElement.dispatchEvent(new KeyboardEvent(type, { key: 'Enter', cancelable: true }))`)
  assert.deepEqual(await rig.calls(/^key/, 6), [
    ...['key 28 down', 'key 28 up', 'key 14 down', 'key 14 up', 'key 28 down', 'key 28 up'],
  ])
})

test('a key that an input method consumed is not sent, and a dead key is', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  await page.evaluate(`for (const init of [
    { code: 'KeyH', key: 'Process', keyCode: 229 },
    { code: 'KeyE', key: 'Dead', keyCode: 229 },
    { code: 'KeyA', key: 'a', keyCode: 229, isComposing: true },
  ]) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { ...init, cancelable: true }))`)
  await page.evaluate(`document.activeElement.dispatchEvent(new CompositionEvent('compositionend', { data: 'á' }))`)
  await page.keyboard.press('KeyB')
  assert.deepEqual(await rig.calls(/^key/, 4), ['key 18 down', 'key 30 down', 'key 48 down', 'key 48 up'])
})

test('the command types the clipboard, and reports characters that the layout does not have', { skip }, async () => {
  const page = await rig.open()
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await page.evaluate(`navigator.clipboard.writeText('aé漢b漢')`)
  await page.getByRole('button', { name: 'Paste as keystrokes' }).click()
  await types('ab')
  await page.getByText('3 of 5 characters are not on the US English keyboard: é 漢').waitFor()
  await page.getByLabel("Guest's layout").selectOption('German')
  await page.getByRole('button', { name: 'Paste as keystrokes' }).click()
  await types('aéb', 'de')
  await page.reload()
  assert.equal(await page.getByLabel("Guest's layout").inputValue(), 'de')
})

test('a page that cannot read the clipboard shows a remedy', { skip }, async () => {
  const page = await rig.open()
  await page.evaluate(`navigator.clipboard.readText = () => Promise.reject(new Error('denied'))`)
  await page.getByRole('button', { name: 'Paste as keystrokes' }).click()
  await page.getByText("use the browser's own Paste command").waitFor()
})

test('a long text arrives completely, and waits while the guest does not read', { skip }, async () => {
  let waiting = 8
  const page = await rig.open()
  rig.machine.inspect = async () => ({ devices: [keyboardWith(waiting)] })
  const text = 'Hi "be"\n'.repeat(100)
  await paste(page, text)
  await page.getByText(/^Typing, \d+ characters left/).waitFor()
  const first = await rig.calls(/^key/, 1)
  assert.ok(first.length <= 4 * 4, `${first.length} events that the guest has not read`)
  waiting = 0
  await types(text)
  await until('no report', async () => (await page.locator('#typing').innerText()) === '')
})

test('Escape or the end of the connection stops typing, and a text that is too long is refused', { skip }, async () => {
  const page = await rig.open()
  rig.machine.inspect = async () => ({ devices: [keyboardWith(1)] })
  await paste(page, 'a'.repeat(100))
  await page.getByText('Typing, 96 characters left').waitFor()
  await page.keyboard.press('Escape')
  await page.getByText('Stopped: 96 characters not typed').waitFor()
  assert.deepEqual(await rig.calls(/^key/, 8), keysOf('aaaa'))
  await paste(page, 'b'.repeat(50))
  await page.getByText('Typing, 46 characters left').waitFor()
  await rig.stopServing()
  await page.getByText('Stopped: 46 characters not typed').waitFor()
  await paste(page, 'c'.repeat(100_001))
  await page.getByText('Not typed: 100,001 characters exceed the maximum').waitFor()
})

test('letters are typed in their case if Caps Lock is on in the guest', { skip }, async () => {
  const page = await rig.open()
  rig.machine.notify((listener) => listener.led?.(1, true))
  await page.getByRole('img', { name: 'Caps Lock on' }).waitFor()
  await paste(page, 'aB1')
  assert.deepEqual(await rig.calls(/^key/, 8), [...keysOf('A'), ...keysOf('b'), ...keysOf('1')])
})
