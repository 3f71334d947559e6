import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { until } from '../until.ts'
import { BreakableLink } from './breakable-link.ts'
import { connected } from './browser.ts'
import { PageRig, skip } from './page-rig.ts'

const rig = new PageRig()

async function shows(page: Page, text: string): Promise<void> {
  await until(`${text} in the terminal`, async () =>
    (await page.locator('#terminal .xterm-rows').innerText()).includes(text),
  )
}

test('output with very large counts does not block the page, also in new tabs', {
  skip,
}, async () => {
  const page = await rig.open()
  const marks = `x${'\u0301'.repeat(20_000)}`
  for (const output of [
    'x\x1b[2147483647b',
    'x\x9b2147483647b',
    `${marks}\x1b[2147483647b`,
    `\r\n${marks}\x1b[D\x1b[C\x1b[D\u0301\x1b[99999b`,
    ...Array.from('LMSTIZ@PX', (final) => `\x1b[2147483647${final}`),
    "\x1b[2147483647'}\x1b[2147483647'~\x1b[2147483647 @\x1b[2147483647 A",
    '\x1b[8;2147483647;2147483647t\x1b[2147483647;2147483647H\x1b[2147483647;2147483647r',
    `\x1b]4;${'1;?;'.repeat(500_000)}\x07`,
  ]) {
    rig.machine.print(output)
  }
  for (const piece of ['x\x1b[2147', '4836', '47', 'b']) rig.machine.print(piece)
  rig.machine.print('\x1b[r\x1b[H\x1b[2J\x1b[0mstill here')
  await shows(page, 'still here')
  await page.reload()
  await connected(page)
  await shows(page, 'still here')
})

test('Ctrl+Shift+C copies the selection, Ctrl+Shift+V pastes', { skip }, async () => {
  const page = await rig.open()
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  rig.machine.print('first\r\nsecond line')
  await shows(page, 'second line')
  const line = await page.locator('#terminal .xterm-rows > div').nth(1).boundingBox()
  assert.ok(line)
  await page.mouse.dblclick(line.x + 10, line.y + 5)
  await page.keyboard.press('Control+Shift+KeyC')
  await until('the clipboard', async () => (await page.evaluate('navigator.clipboard.readText()')) === 'second')
  await page.keyboard.press('Control+Shift+KeyV')
  assert.deepEqual(await rig.calls(/^terminal "/, 1), ['terminal "second"'])
  await page.evaluate(`navigator.clipboard.writeText('é\\n' + 'x'.repeat(20000))`)
  await page.keyboard.press('Control+Shift+KeyV')
  const typed = (): string =>
    rig.machine.calls.flatMap((call) => JSON.parse(/^terminal (".*)/.exec(call)?.[1] ?? '""')).join('')
  await until('all of the text', () => typed() === `secondé\r${'x'.repeat(20000)}`)
})

test('an incomplete sequence of a lost connection does not affect the next one', {
  skip,
}, async (context) => {
  const { link, url } = await BreakableLink.to(rig.url, context)
  const page = await rig.open(url)
  rig.machine.print('before \x1b[9')
  await shows(page, 'before')
  link.break()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  link.mend()
  await connected(page)
  rig.machine.print('mafter')
  await shows(page, 'before after')
  await page.close()
})
