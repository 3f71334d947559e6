import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { BreakableLink } from './breakable-link.ts'
import { canvasPixels, connected } from './browser.ts'
import { PageRig, picture, rgba, skip } from './page-rig.ts'

const rig = new PageRig()

test('the page reconnects by itself, with the current pixels', { skip }, async (context) => {
  const { link, url } = await BreakableLink.to(rig.url, context)
  const page = await rig.open(url)
  await page.locator('.screen').focus()
  await page.keyboard.down('KeyA')
  await rig.calls(/^key 30 down/, 1)
  link.break()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  await rig.calls(/^key 30 up/, 1)
  rig.machine.paint(0, { x: 7, y: 7, width: 1, height: 1 }, () => 0x010203)
  link.mend()
  await connected(page)
  await rig.sees(page, 7, 7, 0x010203)
  await page.keyboard.up('KeyA')
  await page.keyboard.press('KeyB')
  await rig.calls(/^key 48 up/, 1)
  await page.close()
})

test('acknowledgements for a lost connection are not sent on the next one', { skip }, async (context) => {
  const { link, url } = await BreakableLink.to(rig.url, context)
  const page = await rig.open(url)
  await page.evaluate(
    'window.draw = window.requestAnimationFrame; window.requestAnimationFrame = (f) => { window.due = f }',
  )
  rig.machine.paint(0, { x: 0, y: 0, width: 1, height: 1 }, () => 0x111111)
  await rig.sees(page, 0, 0, 0x111111)
  link.break()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  await page.evaluate('window.requestAnimationFrame = window.draw')
  link.mend()
  await connected(page)
  let reconnections = 0
  page.on('websocket', () => reconnections++)
  await page.evaluate('window.due()')
  rig.machine.paint(0, { x: 0, y: 0, width: 1, height: 1 }, () => 0x222222)
  await rig.sees(page, 0, 0, 0x222222)
  assert.equal(reconnections, 0)
  await page.close()
})

test('a server with another token is distinguished from one that is not running', { skip }, async () => {
  const page = await rig.open()
  const port = Number(new URL(rig.url).port)
  await rig.stopServing()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  await rig.serve(port)
  await page.getByText('This address has expired').waitFor()
})

test('two tabs show the same screen, and both can be used', { skip }, async () => {
  const [one, two] = [await rig.open(), await rig.open()]
  rig.machine.paint(0, { x: 1, y: 1, width: 1, height: 1 }, () => 0x0a0b0c)
  await rig.sees(one, 1, 1, 0x0a0b0c)
  await rig.sees(two, 1, 1, 0x0a0b0c)
  for (const [page, key] of [
    [one, 'KeyQ'],
    [two, 'KeyW'],
  ] as const) {
    await page.locator('.screen').focus()
    await page.keyboard.press(key)
  }
  assert.deepEqual(await rig.calls(/^key/, 4), ['key 16 down', 'key 16 up', 'key 17 down', 'key 17 up'])
})

test('a hidden tab has one unacknowledged frame, delays nothing, and then shows the newest pixels', {
  skip,
}, async () => {
  const [slow, quick] = [await rig.open(), await rig.open()]
  await slow.evaluate(
    'window.draw = window.requestAnimationFrame; window.requestAnimationFrame = (f) => { window.due = f }',
  )
  rig.machine.paint(0, { x: 0, y: 0, width: 1, height: 1 }, () => 0x111111)
  await rig.sees(slow, 0, 0, 0x111111)
  for (let i = 1; i <= 50; i++) {
    rig.machine.paint(0, { x: 0, y: 0, width: 40, height: 40 }, () => i)
    await rig.sees(quick, 39, 39, i)
  }
  assert.deepEqual(await canvasPixels(slow, { x: 39, y: 39, width: 1, height: 1 }), rgba([picture(39, 39)]))
  const reads = rig.machine.reads
  await slow.evaluate('window.requestAnimationFrame = window.draw; window.due()')
  await rig.sees(slow, 39, 39, 50)
  assert.equal(rig.machine.reads, reads + 1)
})

test('a malformed message closes that connection only', { skip }, async () => {
  const page = await rig.open()
  const closed = await page.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(new URL('socket', location.href.replace('http', 'ws')))
    socket.onopen = () => socket.send('{"type":"key","code":"a"}')
    socket.onclose = ({ code, reason }) => resolve([code, reason])
  })`)
  assert.deepEqual(closed, [1008, 'key: code is missing or out of range'])
  await page.locator('.screen').focus()
  await page.keyboard.press('KeyA')
  assert.deepEqual(await rig.calls(/^key/, 2), ['key 30 down', 'key 30 up'])
  assert.equal(await page.locator('html').getAttribute('data-connection'), 'open')
})

test('the page is not served without the token', { skip }, async () => {
  const page = await rig.browser.newPage()
  // Replaces the last character of the token.
  const other = rig.url.replace(/.\/$/, (end) => (end === '_/' ? '-/' : '_/'))
  for (const address of [new URL('/', rig.url).href, other]) {
    assert.equal((await page.goto(address))?.status(), 403)
  }
})

test('a page of another origin can neither connect nor frame the page, even with the token', { skip }, async () => {
  const other = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<p>other</p>'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  try {
    const page = await rig.browser.newPage()
    await page.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}/`)
    const outcome = await page.evaluate(`new Promise((resolve) => {
      const socket = new WebSocket('${rig.url.replace('http', 'ws')}socket')
      socket.onopen = () => resolve('open')
      socket.onclose = () => resolve('refused')
    })`)
    assert.equal(outcome, 'refused')
    const fetched = await page.evaluate(`fetch('${rig.url}').then(() => 'read', () => 'refused')`)
    assert.equal(fetched, 'refused')
    await page.evaluate(`document.body.innerHTML = '<iframe src="${rig.url}"></iframe>'`)
    await page.waitForTimeout(500)
    assert.equal(await page.frames()[1]?.locator('.bar').count(), 0)
  } finally {
    other.close()
  }
})
