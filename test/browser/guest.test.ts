import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { type ConsoleServer, serveConsole } from '../../src/console/server.ts'
import { bootGuest, type Guest, guestMissing } from '../guest/guest.ts'
import { until } from '../until.ts'
import { BreakableLink } from './breakable-link.ts'
import { browserMissing, canvasDigest, canvasSize, connected, launchBrowser, openPage } from './browser.ts'

const skip = browserMissing() ?? guestMissing('v86') ?? false

let browser: Browser
let guest: Guest
let server: ConsoleServer
const faults: string[] = []

// One guest for all tests, because a boot takes longer than the tests.
before(async () => {
  if (skip) return
  guest = await bootGuest({})
  server = await serveConsole(guest.machine, { port: 0 })
  browser = await launchBrowser()
})
after(async () => {
  await browser?.close()
  await server?.close()
  await guest?.stop()
})
afterEach(async () => {
  if (skip) return
  for (const context of browser.contexts()) await context.close()
  assert.deepEqual(faults, [])
})

/** Returns the guest's screen as the expected pixels of a canvas. */
async function screenOfGuest(): Promise<{ width: number; height: number; rgba: Buffer }> {
  const pixels = await guest.machine.readPixels(0)
  assert.ok(pixels, 'the screen is off')
  const { width, height, data } = pixels
  const rgba = Buffer.alloc(data.length)
  for (let i = 0; i < data.length; i += 4) {
    rgba[i] = data[i + 2]
    rgba[i + 1] = data[i + 1]
    rgba[i + 2] = data[i]
    rgba[i + 3] = 255
  }
  return { width, height, rgba }
}

/** Waits until the page shows every pixel of the guest's screen. @returns the pixels */
async function showsAll(page: Page): Promise<Buffer> {
  let shown: Buffer = Buffer.alloc(0)
  await until('the page shows what the guest does', async () => {
    const { width, height, rgba } = await screenOfGuest()
    shown = rgba
    const sameSize = (await canvasSize(page)).join() === [width, height].join()
    return sameSize && (await canvasDigest(page)) === createHash('sha256').update(rgba).digest('hex')
  })
  return shown
}

const SHIFTED: Record<string, string> = {
  '"': 'Quote',
  '!': 'Digit1',
  $: 'Digit4',
  '*': 'Digit8',
  '(': 'Digit9',
  ')': 'Digit0',
  '|': 'Backslash',
}

/** Presses the keys for a text on a US keyboard, including Shift. */
async function pressKeys(page: Page, text: string): Promise<void> {
  for (const character of text) {
    const shifted = SHIFTED[character] ?? (/[A-Z]/.test(character) ? `Key${character}` : undefined)
    await page.keyboard.press(shifted ? `Shift+${shifted}` : character)
  }
  await page.keyboard.press('Enter')
}

/** Returns the number of bytes that differ. */
function differences(a: Buffer, b: Buffer): number {
  let count = Math.abs(a.length - b.length)
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) count++
  return count
}

test('a command typed on the screen runs in the guest, and its output is visible', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  const before = await showsAll(page)
  await page.locator('canvas').click()
  await pressKeys(page, 'clear; echo "Hello, $((6 * 7))!" | tee /tmp/typed')
  await until('the command has run', async () => (await guest.run('cat /tmp/typed')).stdout === 'Hello, 42!\n')
  const bright = (bytes: Uint8Array): number => bytes.filter((value, i) => i % 4 !== 3 && value > 100).length
  // The console's font is 16 pixels high: the greeting stands in the first row, and the screen below the prompt is
  // empty.
  await until('the page shows the greeting, and nothing below the prompt', async () => {
    const { width } = await screenOfGuest()
    const shown = await showsAll(page)
    const isCleared = bright(shown.subarray(width * 64 * 4)) === 0 && differences(before, shown) > 1000
    return isCleared && bright(shown.subarray(0, width * 16 * 4)) > 50
  })
})

test('a text that is pasted into the screen reaches a program in the guest completely', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  const lines = Array.from(
    { length: 40 },
    (_, i) => `${i}: The "quick" {brown} fox | jumps_over & the <lazy> dog's ~#$`,
  )
  await page.evaluate(
    (text) => {
      // biome-ignore lint/suspicious/noExplicitAny: the browser's globals are not those of this program
      return (globalThis as any).navigator.clipboard.writeText(text)
    },
    `cat > /tmp/pasted << 'END'\n${lines.join('\n')}\nEND\n`,
  )
  await page.getByRole('button', { name: 'Paste as keystrokes' }).click()
  await until('all of the text', async () => {
    const { stdout } = await guest.run('cat /tmp/pasted 2> /dev/null')
    return stdout === `${lines.join('\n')}\n`
  })
})

test('the canvas shows every pixel that a program of the guest draws', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  const drawn = await guest.run('head -c 3145728 /dev/urandom > /tmp/picture; cat /tmp/picture > /dev/fb0')
  assert.equal(drawn.status, 0, drawn.stderr)
  await until('noise on the screen', async () => new Set((await screenOfGuest()).rgba.subarray(-4096)).size > 200)
  await showsAll(page)
})

test('the terminal is a shell in the guest with the size of the panel', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  await page.locator('#terminal-body').click()
  const shown = () => page.locator('#terminal .xterm-rows').innerText()
  await page.keyboard.type('echo $((21 * 2)) | tr 4 X; stty size\n')
  await until('the answer', async () => /X2\s+\d+ \d+/.test(await shown()))
  const [, rows, columns] = /X2\s+(\d+) (\d+)/.exec(await shown()) ?? []
  const lines = await page.locator('#terminal .xterm-rows > div').count()
  assert.equal(Number(rows), lines)
  assert.ok(Number(columns) > 100)
})

test('the page reconnects, and shows what the guest drew meanwhile', { skip }, async (context) => {
  const { link, url } = await BreakableLink.to(server.url, context)
  const page = await openPage(browser, url, faults)
  const before = await showsAll(page)
  link.break()
  await page.locator('html[data-connection=lost]').waitFor({ state: 'attached' })
  // In one write: the kernel never shows one of exactly a row, which is what `tr` writes at a time
  // (docs/devices/gpu.md).
  const drawn = await guest.run(
    'head -c 1000000 /dev/zero | tr "\\0" "\\125" | dd of=/dev/fb0 bs=1000000 iflag=fullblock',
  )
  assert.equal(drawn.status, 0, drawn.stderr)
  await until('another picture', async () => differences(before, (await screenOfGuest()).rgba) > 100_000)
  link.mend()
  await connected(page)
  await showsAll(page)
})

test('the inspector shows the path of the pixels to the page', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  await page.getByRole('button', { name: 'Inspector' }).click()
  const cost = page.locator('.costs p').first()
  await cost.waitFor()
  assert.match(await cost.innerText(), /^Screen 1: .+, [\d.,]+ \w+ a frame \(.+\)$/)
  assert.ok((await page.locator('.health').allInnerTexts()).includes('running'))
})

test('the guest follows the size of the window', { skip }, async () => {
  const page = await openPage(browser, server.url, faults)
  await page.setViewportSize({ width: 864, height: 840 })
  await page.getByRole('button', { name: 'Terminal' }).click()
  await page.getByRole('button', { name: 'Follow window' }).click()
  await until('a canvas as wide as the window', async () => (await canvasSize(page))[0] === 840)
  await showsAll(page)
})
