import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { decode } from 'fast-png'
import type { Browser, Page } from 'playwright-core'
import { type ConsoleServer, serveConsole } from '../../src/console/server.ts'
import { StandInMachine } from '../../src/console/testing/stand-in-machine.ts'
import { BreakableLink } from './breakable-link.ts'
import { browserMissing, canvasPixels, canvasSize, connected, launchBrowser, openPage, watchFaults } from './browser.ts'
import { until } from './until.ts'

const skip = browserMissing() ?? false
const SIZE = { width: 320, height: 200 }
const WHOLE = { x: 0, y: 0, ...SIZE }

let browser: Browser
let machine: StandInMachine
let server: ConsoleServer
let faults: string[]

before(async () => {
  if (!skip) browser = await launchBrowser()
})
after(() => browser?.close())

beforeEach(async () => {
  if (skip) return
  faults = []
  machine = new StandInMachine([SIZE])
  machine.paint(0, WHOLE, picture)
  server = await serveConsole(machine, { port: 0 })
})
afterEach(async () => {
  if (skip) return
  for (const context of browser.contexts()) await context.close()
  await server.close()
  assert.deepEqual(faults, [])
})

/** Every pixel another one, so that one in the wrong place shows. */
function picture(x: number, y: number): number {
  return ((x & 0xff) << 16) | (y << 8) | ((x * 7 + y * 13) & 0xff)
}

/** Pixels as a canvas has them. */
function rgba(colors: readonly number[]): number[] {
  return colors.flatMap((color) => [color >> 16, (color >> 8) & 0xff, color & 0xff, 255])
}

async function sees(page: Page, x: number, y: number, color: number): Promise<void> {
  await until(`#${color.toString(16)} at ${x},${y}`, async () => {
    const [red, green, blue] = await canvasPixels(page, { x, y, width: 1, height: 1 })
    return ((red << 16) | (green << 8) | blue) === color
  })
}

/** A connected page that shows the first picture. */
async function open(url = server.url): Promise<Page> {
  const page = await openPage(browser, url, faults)
  await sees(page, SIZE.width - 1, SIZE.height - 1, picture(SIZE.width - 1, SIZE.height - 1))
  return page
}

/** The machine's calls of these kinds, once there are so many. */
async function calls(kind: RegExp, count: number): Promise<string[]> {
  const matching = (): string[] => machine.calls.filter((call) => kind.test(call))
  await until(`${count} calls of ${kind}, of ${machine.calls.join(', ')}`, () => matching().length >= count)
  return matching()
}

function terminalText(page: Page): Promise<string> {
  return page.locator('#terminal .xterm-rows').innerText()
}

// ---- pixels

test('every pixel of the canvas is the one of the guest', { skip }, async () => {
  const page = await open()
  const expected = Array.from({ length: SIZE.width * SIZE.height }, (_, i) =>
    picture(i % SIZE.width, Math.floor(i / SIZE.width)),
  )
  assert.deepEqual(await canvasPixels(page, WHOLE), rgba(expected))
})

test('damage changes its own pixels and no others', { skip }, async () => {
  const page = await open()
  machine.paint(0, { x: 100, y: 50, width: 3, height: 2 }, (x, y) => 0xabcd00 + x + y)
  await sees(page, 102, 51, 0xabcd00 + 153)
  assert.deepEqual(
    await canvasPixels(page, { x: 99, y: 51, width: 5, height: 1 }),
    rgba([picture(99, 51), 0xabcd00 + 151, 0xabcd00 + 152, 0xabcd00 + 153, picture(103, 51)]),
  )
  assert.deepEqual(await canvasPixels(page, { x: 100, y: 52, width: 1, height: 1 }), rgba([picture(100, 52)]))
})

test('another mode gives another canvas, a screen that is off none', { skip }, async () => {
  const page = await open()
  machine.setMode(0, { width: 64, height: 48 })
  machine.paint(0, { x: 63, y: 47, width: 1, height: 1 }, () => 0x00ff7f)
  await sees(page, 63, 47, 0x00ff7f)
  assert.deepEqual(await canvasSize(page), [64, 48])
  machine.setMode(0, undefined)
  await page.getByText("The guest's screen is off").waitFor()
  assert.equal(await page.locator('canvas').isVisible(), false)
})

test('a second screen has its own canvas', { skip }, async () => {
  machine = new StandInMachine([SIZE, { width: 50, height: 40 }])
  await server.close()
  server = await serveConsole(machine, { port: 0 })
  const page = await openPage(browser, server.url, faults)
  machine.paint(1, { x: 0, y: 0, width: 50, height: 40 }, () => 0x336699)
  await until('the second canvas', async () => (await page.locator('canvas:visible').count()) === 2)
  await until('its pixels', async () => {
    return (await canvasPixels(page, { x: 49, y: 39, width: 1, height: 1 }, 1)).join() === rgba([0x336699]).join()
  })
})

test("the guest's cursor is the page's, with its hot spot, and hides with it", { skip }, async () => {
  const page = await open()
  const style = () => page.evaluate("document.querySelector('canvas').style.cursor")
  assert.equal(await style(), '')
  machine.setCursor(0, { width: 2, height: 2, hotX: 1, hotY: 0, data: new Uint8Array(16).fill(200) })
  await until('the cursor', async () =>
    /^url\("?data:image\/png;base64,[^"]+"?\) 1 0, default$/.test(String(await style())),
  )
  machine.setCursor(0, undefined)
  await until('no cursor', async () => (await style()) === 'none')
})

test('the screenshot is a PNG of exactly the screen', { skip }, async () => {
  const page = await open()
  const downloading = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Screenshot' }).click()
  const download = await downloading
  assert.match(download.suggestedFilename(), /^guest-screen-.*\.png$/)
  const image = decode(await readFile(await download.path()))
  assert.deepEqual([image.width, image.height], [SIZE.width, SIZE.height])
  const at = (200 * image.width - 1) * image.channels
  assert.deepEqual([...image.data.subarray(at, at + 3)], rgba([picture(319, 199)]).slice(0, 3))
})

// ---- keyboard and pointer

test('keys arrive by their place on the keyboard, with all modifiers, and are kept from the browser', {
  skip,
}, async () => {
  const page = await open()
  await page.locator('.screen').focus()
  await page.evaluate('window.isSame = true')
  for (const chord of [
    'a',
    'Shift+KeyA',
    'Control+Alt+Delete',
    'AltRight',
    'F5',
    'Tab',
    'Escape',
    'NumpadEnter',
    'Meta',
  ]) {
    await page.keyboard.press(chord)
  }
  assert.deepEqual(
    (await calls(/^key/, 24)).map((call) => call.slice(4)),
    [
      ...['30 down', '30 up'],
      ...['42 down', '30 down', '30 up', '42 up'],
      ...['29 down', '56 down', '111 down', '111 up', '56 up', '29 up'],
      ...['100 down', '100 up', '63 down', '63 up', '15 down', '15 up', '1 down', '1 up', '96 down', '96 up'],
      ...['125 down', '125 up'],
    ],
  )
  assert.equal(await page.evaluate('window.isSame'), true)
  assert.equal(await page.evaluate('document.activeElement.className'), 'screen')
})

test('a key held down is pressed once: the guest repeats by itself', { skip }, async () => {
  const page = await open()
  await page.locator('.screen').focus()
  for (let i = 0; i < 4; i++) await page.keyboard.down('KeyX')
  await page.keyboard.up('KeyX')
  assert.deepEqual(await calls(/^key/, 2), ['key 45 down', 'key 45 up'])
})

test('no key stays down when the screen loses the focus, or the page goes', { skip }, async () => {
  const page = await open()
  await page.locator('.screen').focus()
  await page.keyboard.down('ShiftLeft')
  await page.keyboard.down('KeyA')
  await page.getByRole('button', { name: 'Fit' }).focus()
  assert.deepEqual(await calls(/^key/, 4), ['key 42 down', 'key 30 down', 'key 30 up', 'key 42 up'])
  await page.keyboard.up('KeyA')
  await page.keyboard.up('ShiftLeft')
  await page.locator('.screen').focus()
  await page.keyboard.down('ControlLeft')
  await calls(/^key 29 down/, 1)
  await page.close()
  await calls(/^key 29 up/, 1)
})

test('Ctrl+Alt+G gives the keyboard back, and leaves no key down in the guest', { skip }, async () => {
  const page = await open()
  await page.locator('.screen').focus()
  assert.ok(await page.getByText('gives the keyboard back').isVisible())
  await page.keyboard.press('Control+Alt+KeyG')
  assert.deepEqual(await calls(/^key/, 4), ['key 29 down', 'key 56 down', 'key 56 up', 'key 29 up'])
  assert.equal(await page.evaluate('document.activeElement.id'), 'fit')
})

test('the whole page is reached with the Tab key, and every control has a name', { skip }, async () => {
  const page = await open()
  const reached: string[] = []
  for (let i = 0; i < 9; i++) {
    await page.keyboard.press('Tab')
    reached.push(String(await page.evaluate('document.activeElement.id || document.activeElement.className')))
  }
  assert.deepEqual(reached, [
    ...['fit', 'follow', 'full-screen', 'ctrl-alt-del', 'screenshot'],
    ...['show-terminal', 'show-log', 'show-inspector', 'screen'],
  ])
  for (const button of await page.getByRole('button').all()) assert.ok((await button.innerText()).trim() !== '')
  const label = await page.locator('.screen').getAttribute('aria-label')
  assert.equal(label, 'Screen 1 of the guest, 320 by 200 pixels')
})

test('the button sends Ctrl+Alt+Del', { skip }, async () => {
  const page = await open()
  await page.getByRole('button', { name: 'Ctrl+Alt+Del' }).click()
  assert.deepEqual(await calls(/^key/, 6), [
    ...['key 29 down', 'key 56 down', 'key 111 down'],
    ...['key 111 up', 'key 56 up', 'key 29 up'],
  ])
})

test('the pointer arrives where it is on the guest, scaled or not, with every button in its place', {
  skip,
}, async () => {
  const page = await open()
  for (const isFit of [true, false]) {
    if (!isFit) await page.getByRole('button', { name: 'Fit' }).click()
    machine.calls.length = 0
    const box = await page.locator('canvas').boundingBox()
    assert.ok(box)
    if (!isFit) assert.deepEqual([box.width, box.height], [SIZE.width, SIZE.height])
    await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2)
    for (const button of ['left', 'right', 'middle'] as const) {
      await page.mouse.down({ button })
      await page.mouse.up({ button })
    }
    await calls(/^button/, 6)
    const first = machine.calls.find((call) => call.startsWith('pointer')) ?? ''
    const [, , x, y] = first.split(' ').map(Number)
    assert.ok(Math.abs(x - 0.25) < 0.01 && Math.abs(y - 0.5) < 0.01, first)
    assert.deepEqual(await calls(/^button/, 6), [
      ...['button 0x110 down', 'button 0x110 up', 'button 0x111 down', 'button 0x111 up'],
      ...['button 0x112 down', 'button 0x112 up'],
    ])
    assert.ok(machine.calls.indexOf(first) < machine.calls.indexOf('button 0x110 down'))
  }
})

test('a drag goes on outside the screen, and ends there', { skip }, async () => {
  const page = await open()
  const box = await page.locator('canvas').boundingBox()
  assert.ok(box)
  await page.mouse.move(box.x + 5, box.y + 5)
  await page.mouse.down()
  await page.mouse.move(box.x - 50, box.y + box.height + 30)
  await page.mouse.up()
  await calls(/^button 0x110 up/, 1)
  assert.ok(machine.calls.includes('pointer 0 0.000 1.000'), machine.calls.join())
})

test('the wheel turns away from the user and to the right', { skip }, async () => {
  const page = await open()
  await page.locator('canvas').hover()
  await page.mouse.wheel(0, -100)
  await calls(/^wheel/, 1)
  await page.mouse.wheel(50, 0)
  assert.deepEqual(await calls(/^wheel/, 2), ['wheel 1.000 0.000', 'wheel 0.000 0.500'])
})

test('the guest follows the window when asked to', { skip }, async () => {
  const page = await open()
  await page.getByRole('button', { name: 'Follow window' }).click()
  await calls(/^resize/, 1)
  await page.setViewportSize({ width: 1000, height: 700 })
  await until('a canvas as wide as the window allows', async () => (await canvasSize(page))[0] === 1000 - 24)
  const box = await page.locator('canvas').boundingBox()
  assert.deepEqual([box?.width, box?.height], await canvasSize(page))
})

// ---- terminal, log, inspector

test('the terminal shows what the guest prints, and types', { skip }, async () => {
  machine.print('ready\r\n$ ')
  const page = await open()
  await until('the output of before', async () => (await terminalText(page)).includes('ready'))
  await page.locator('#terminal-body').click()
  await page.keyboard.type('echo hé')
  await page.keyboard.press('Enter')
  await until('the echo', async () => (await terminalText(page)).includes('$ echo hé'))
  await calls(/^terminal size \d+x\d+/, 1)
  await page.keyboard.press('Control+Alt+KeyG')
  assert.equal(await page.evaluate('document.activeElement.id'), 'fit')
})

test('a long paste arrives whole', { skip }, async () => {
  const page = await open()
  const text = Array.from({ length: 4000 }, (_, i) => `${i} ä`).join(' ')
  await page.locator('#terminal-body').click()
  await page.keyboard.insertText(text)
  const typed = (): string =>
    machine.calls
      .flatMap((call) => (call.startsWith('terminal "') ? [JSON.parse(call.slice(9)) as string] : []))
      .join('')
  await until('all of the text', () => typed() === text)
})

test('a query in the output is answered once, not again by a tab that comes later', { skip }, async () => {
  const page = await open()
  machine.print('\x1b[2J\x1b[3;5H\x1b[6n')
  assert.deepEqual(await calls(/^terminal "/, 1), ['terminal "\\u001b[3;5R"'])
  await page.reload()
  await connected(page)
  machine.print('live')
  await until('the newest output', async () => (await terminalText(page)).includes('live'))
  assert.equal((await calls(/^terminal "/, 1)).length, 1)
})

test('lights, log lines and the end of the guest show', { skip }, async () => {
  const page = await open()
  machine.tell((listener) => listener.led?.(1, true))
  await page.getByRole('img', { name: 'Caps Lock on' }).waitFor()
  await page.getByRole('button', { name: 'Log' }).click()
  machine.tell((listener) => listener.log?.('gpu: <b>copied</b>'))
  await page.getByRole('log').getByText('gpu: <b>copied</b>').waitFor()
  machine.tell((listener) => listener.stopped?.({ kind: 'panic', message: 'no init found' }))
  await page.getByRole('alert').getByText('The guest has stopped: no init found').waitFor()
})

test('the inspector shows devices, and asks only while it is open', { skip }, async () => {
  const page = await open()
  assert.equal(machine.calls.includes('inspect'), false)
  await page.getByRole('button', { name: 'Inspector' }).click()
  await page.getByText('Screen 1: in place, 64 KiB a frame').waitFor()
  await page.getByText('Queue 0, last fault: descriptor 17 lies outside guest memory').waitFor()
  await page.getByText('3 of 4 negotiated').click()
  assert.ok(await page.getByText('✓ VIRTIO_GPU_F_RESOURCE_BLOB').isVisible())
  await calls(/^inspect/, 3)
  assert.ok(await page.getByText('✓ VIRTIO_GPU_F_RESOURCE_BLOB').isVisible())
  await page.getByRole('button', { name: 'Inspector' }).click()
  const asked = (await calls(/^inspect/, 3)).length
  await page.waitForTimeout(2500)
  assert.ok((await calls(/^inspect/, 3)).length <= asked + 1)
})

// ---- connections

test('a lost connection comes back by itself, with the pixels of now', { skip }, async () => {
  const { link, url } = await BreakableLink.to(server.url)
  const page = await open(url)
  await page.locator('.screen').focus()
  await page.keyboard.down('KeyA')
  await calls(/^key 30 down/, 1)
  link.break()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  await calls(/^key 30 up/, 1)
  machine.paint(0, { x: 7, y: 7, width: 1, height: 1 }, () => 0x010203)
  link.mend()
  await connected(page)
  await sees(page, 7, 7, 0x010203)
  await page.keyboard.up('KeyA')
  await page.keyboard.press('KeyB')
  await calls(/^key 48 up/, 1)
  await page.close()
  await link.close()
})

test('a server that came back with another token is told from one that is away', { skip }, async () => {
  const page = await open()
  const port = Number(new URL(server.url).port)
  await server.close()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  server = await serveConsole(machine, { port })
  await page.getByText('This address is not valid any more').waitFor()
})

test('two tabs see the same, and both work', { skip }, async () => {
  const [one, two] = [await open(), await open()]
  machine.paint(0, { x: 1, y: 1, width: 1, height: 1 }, () => 0x0a0b0c)
  await sees(one, 1, 1, 0x0a0b0c)
  await sees(two, 1, 1, 0x0a0b0c)
  for (const [page, key] of [
    [one, 'KeyQ'],
    [two, 'KeyW'],
  ] as const) {
    await page.locator('.screen').focus()
    await page.keyboard.press(key)
  }
  assert.deepEqual(await calls(/^key/, 4), ['key 16 down', 'key 16 up', 'key 17 down', 'key 17 up'])
})

test('a tab that draws nothing has one frame to draw, makes nobody wait, and then sees the newest', {
  skip,
}, async () => {
  const [slow, quick] = [await open(), await open()]
  await slow.evaluate(
    'window.draw = window.requestAnimationFrame; window.requestAnimationFrame = (f) => { window.due = f }',
  )
  machine.paint(0, { x: 0, y: 0, width: 1, height: 1 }, () => 0x111111)
  await sees(slow, 0, 0, 0x111111)
  for (let i = 1; i <= 50; i++) {
    machine.paint(0, { x: 0, y: 0, width: 40, height: 40 }, () => i)
    await sees(quick, 39, 39, i)
  }
  assert.deepEqual(await canvasPixels(slow, { x: 39, y: 39, width: 1, height: 1 }), rgba([picture(39, 39)]))
  const reads = machine.reads
  await slow.evaluate('window.requestAnimationFrame = window.draw; window.due()')
  await sees(slow, 39, 39, 50)
  assert.equal(machine.reads, reads + 1)
})

test('a malformed message closes that connection only', { skip }, async () => {
  const page = await open()
  const closed = await page.evaluate(`new Promise((resolve) => {
    const socket = new WebSocket(new URL('socket', location.href.replace('http', 'ws')))
    socket.onopen = () => socket.send('{"type":"key","code":"a"}')
    socket.onclose = ({ code, reason }) => resolve([code, reason])
  })`)
  assert.deepEqual(closed, [1008, 'key: code is missing or out of range'])
  await page.locator('.screen').focus()
  await page.keyboard.press('KeyA')
  assert.deepEqual(await calls(/^key/, 2), ['key 30 down', 'key 30 up'])
  assert.equal(await page.locator('html').getAttribute('data-connection'), 'open')
})

test('without the token there is no page', { skip }, async () => {
  const page = await browser.newPage()
  for (const address of [new URL('/', server.url).href, server.url.replace(/.\/$/, '_/')]) {
    assert.equal((await page.goto(address))?.status(), 403)
  }
})

test('a page of another origin gets neither a connection nor a frame, even with the token', { skip }, async () => {
  const other = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<p>other</p>'))
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}/`)
    const outcome = await page.evaluate(`new Promise((resolve) => {
      const socket = new WebSocket('${server.url.replace('http', 'ws')}socket')
      socket.onopen = () => resolve('open')
      socket.onclose = () => resolve('refused')
    })`)
    assert.equal(outcome, 'refused')
    const fetched = await page.evaluate(`fetch('${server.url}').then(() => 'read', () => 'refused')`)
    assert.equal(fetched, 'refused')
    await page.evaluate(`document.body.innerHTML = '<iframe src="${server.url}"></iframe>'`)
    await page.waitForTimeout(500)
    assert.equal(await page.frames()[1]?.locator('.bar').count(), 0)
  } finally {
    other.close()
  }
})

// ---- looks

/** The least contrast of the page's texts against what is behind them, and where it is. */
const LEAST_CONTRAST = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number)
  const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor)
      if (color.length === 3 || color[3] === 1) return color
    }
    return [255, 255, 255]
  }
  let least = { ratio: 21, text: '' }
  for (const element of document.querySelectorAll('body *')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
    if (!hasText || !element.checkVisibility() || element.closest('svg, .xterm')) continue
    const [a, b] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    if (ratio < least.ratio) least = { ratio, text: element.textContent }
  }
  return least
})()`

for (const colorScheme of ['light', 'dark'] as const) {
  test(`every text stands out, in ${colorScheme}`, { skip }, async () => {
    const page = await open()
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    machine.tell((listener) => listener.log?.('a line'))
    machine.tell((listener) => listener.stopped?.({ kind: 'power-off', message: 'powered off' }))
    for (const name of ['Log', 'Inspector']) await page.getByRole('button', { name }).click()
    await page.getByText('last fault').waitFor()
    const { ratio, text } = (await page.evaluate(LEAST_CONTRAST)) as { ratio: number; text: string }
    assert.ok(ratio >= 4.5, `${text}: ${ratio}`)
  })
}

test('nothing is wider than a narrow window', { skip }, async () => {
  const page = await browser.newPage({ viewport: { width: 360, height: 740 } })
  watchFaults(page, faults)
  await page.goto(server.url)
  await connected(page)
  for (const name of ['Log', 'Inspector']) await page.getByRole('button', { name }).click()
  await page.getByText('last fault').waitFor()
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
})
