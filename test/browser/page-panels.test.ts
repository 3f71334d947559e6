import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { until } from '../until.ts'
import { connected } from './browser.ts'
import { PageRig, skip } from './page-rig.ts'

const rig = new PageRig()

function terminalText(page: Page): Promise<string> {
  return page.locator('#terminal .xterm-rows').innerText()
}

test('the terminal shows output of the guest, and sends input', { skip }, async () => {
  rig.machine.print('ready\r\n$ ')
  const page = await rig.open()
  await until('the output of before', async () => (await terminalText(page)).includes('ready'))
  await page.locator('#terminal-body').click()
  await page.keyboard.type('echo hé')
  await page.keyboard.press('Enter')
  await until('the echo', async () => (await terminalText(page)).includes('$ echo hé'))
  await rig.calls(/^terminal size \d+x\d+/, 1)
  await page.keyboard.press('Control+Alt+KeyG')
  assert.equal(await page.evaluate('document.activeElement.id'), 'fit')
})

test('a long paste arrives completely', { skip }, async () => {
  const page = await rig.open()
  const text = Array.from({ length: 4000 }, (_, i) => `${i} ä`).join(' ')
  await page.locator('#terminal-body').click()
  await page.keyboard.insertText(text)
  const typed = (): string =>
    rig.machine.calls
      .flatMap((call) => (call.startsWith('terminal "') ? [JSON.parse(call.slice(9)) as string] : []))
      .join('')
  await until('all of the text', () => typed() === text)
})

test('a query in the output is answered once, and not again by a later tab', { skip }, async () => {
  const page = await rig.open()
  rig.machine.print('\x1b[2J\x1b[3;5H\x1b[6n')
  assert.deepEqual(await rig.calls(/^terminal "/, 1), ['terminal "\\u001b[3;5R"'])
  await page.reload()
  await connected(page)
  rig.machine.print('live')
  await until('the newest output', async () => (await terminalText(page)).includes('live'))
  assert.equal((await rig.calls(/^terminal "/, 1)).length, 1)
})

test('lights, log lines and the end of the guest are shown', { skip }, async () => {
  const page = await rig.open()
  rig.machine.notify((listener) => listener.led?.(1, true))
  await page.getByRole('img', { name: 'Caps Lock on' }).waitFor()
  await page.getByRole('button', { name: 'Log' }).click()
  rig.machine.notify((listener) => listener.log?.('gpu: <b>copied</b>'))
  await page.getByRole('log').getByText('gpu: <b>copied</b>').waitFor()
  rig.machine.notify((listener) => listener.stopped?.({ kind: 'panic', message: 'no init found' }))
  await page.getByRole('alert').getByText('The guest has stopped: no init found').waitFor()
})

test('the inspector shows devices, and sends requests only while it is open', { skip }, async () => {
  const page = await rig.open()
  assert.equal(rig.machine.calls.includes('inspect'), false)
  await page.getByRole('button', { name: 'Inspector' }).click()
  await page.getByText('Screen 1: linear, read in place, 64 KiB a frame').waitFor()
  await page.getByText('Buffer resource 7: linear, 3 MiB of the guest, 1024 × 768, held by 1').waitFor()
  await page.getByText('Queue 0, last fault: descriptor 17 lies outside guest memory').waitFor()
  await page.getByText('3 of 4 negotiated').click()
  assert.ok(await page.getByText('✓ RESOURCE_BLOB').isVisible())
  await rig.calls(/^inspect/, 3)
  assert.ok(await page.getByText('✓ RESOURCE_BLOB').isVisible())
  await page.getByRole('button', { name: 'Inspector' }).click()
  const asked = (await rig.calls(/^inspect/, 3)).length
  await page.waitForTimeout(2500)
  assert.ok((await rig.calls(/^inspect/, 3)).length <= asked + 1)
})
