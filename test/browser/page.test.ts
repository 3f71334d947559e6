import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { decode } from 'fast-png'
import type { Page } from 'playwright-core'
import { StandInMachine } from '../../src/console/testing/stand-in-machine.ts'
import type { Cursor } from '../../src/machine/machine.ts'
import { until } from '../until.ts'
import { canvasPixels, canvasSize, connected, openPage, watchFaults } from './browser.ts'
import { PageRig, picture, rgba, SIZE, skip, WHOLE } from './page-rig.ts'

const rig = new PageRig()

test('every pixel of the canvas equals that of the guest', { skip }, async () => {
  const page = await rig.open()
  const expected = Array.from({ length: SIZE.width * SIZE.height }, (_, i) =>
    picture(i % SIZE.width, Math.floor(i / SIZE.width)),
  )
  assert.deepEqual(await canvasPixels(page, WHOLE), rgba(expected))
})

test('damage changes only its own pixels', { skip }, async () => {
  const page = await rig.open()
  rig.machine.paint(0, { x: 100, y: 50, width: 3, height: 2 }, (x, y) => 0xabcd00 + x + y)
  await rig.sees(page, 102, 51, 0xabcd00 + 153)
  assert.deepEqual(
    await canvasPixels(page, { x: 99, y: 51, width: 5, height: 1 }),
    rgba([picture(99, 51), 0xabcd00 + 151, 0xabcd00 + 152, 0xabcd00 + 153, picture(103, 51)]),
  )
  assert.deepEqual(await canvasPixels(page, { x: 100, y: 52, width: 1, height: 1 }), rgba([picture(100, 52)]))
})

test('a change of the mode resizes the canvas, and a screen that is off has none', { skip }, async () => {
  const page = await rig.open()
  rig.machine.setMode(0, { width: 64, height: 48 })
  rig.machine.paint(0, { x: 63, y: 47, width: 1, height: 1 }, () => 0x00ff7f)
  await rig.sees(page, 63, 47, 0x00ff7f)
  assert.deepEqual(await canvasSize(page), [64, 48])
  rig.machine.setMode(0, undefined)
  await page.getByText("The guest's screen is off").waitFor()
  assert.equal(await page.locator('canvas').isVisible(), false)
})

test('a second screen has its own canvas', { skip }, async () => {
  rig.machine = new StandInMachine([SIZE, { width: 50, height: 40 }])
  await rig.serve()
  const page = await openPage(rig.browser, rig.url, rig.faults)
  rig.machine.paint(1, { x: 0, y: 0, width: 50, height: 40 }, () => 0x336699)
  await until('the second canvas', async () => (await page.locator('canvas:visible').count()) === 2)
  await until('its pixels', async () => {
    return (await canvasPixels(page, { x: 49, y: 39, width: 1, height: 1 }, 1)).join() === rgba([0x336699]).join()
  })
})

/** Returns the cursor over the screen: its size in CSS pixels, its hot spot, and the colours of its corners. */
async function cursorOf(page: Page): Promise<{ size: number[]; hot: number[]; corners: number[][] } | string> {
  const style = String(await page.evaluate("document.querySelector('canvas').style.cursor"))
  const [, url, , density, hotX, hotY] =
    /^(?:image-set\()?url\("?(data:[^")]+)"?\)( ([\d.]+)(?:x|dppx)\))? (\d+) (\d+), default$/.exec(style) ?? []
  if (!url) return style
  const image = decode(Buffer.from(url.split(',')[1], 'base64'))
  const { width, height, data } = image
  const pixel = (at: number): number[] => [...data.subarray(at * 4, at * 4 + 4)]
  return {
    size: [width, height].map((side) => side / Number(density ?? 1)),
    hot: [Number(hotX), Number(hotY)],
    corners: [pixel(0), pixel(width * height - 1)],
  }
}

/** Cursor whose upper left quarter is red and the rest blue. */
function quarteredCursor(side: number): Cursor {
  const data = new Uint8Array(side * side * 4)
  for (let at = 0; at < side * side; at++) {
    const isRed = at % side < side / 2 && at < (side * side) / 2
    data.set(isRed ? [0, 0, 255, 255] : [255, 0, 0, 255], at * 4)
  }
  return { width: side, height: side, hotX: side / 2, hotY: 4, data }
}

const RED = [255, 0, 0, 255]
const BLUE = [0, 0, 255, 255]

for (const density of [1, 2]) {
  test(`the page shows the guest's cursor at the scale of the screen, at ${density} pixels per CSS pixel`, {
    skip,
  }, async () => {
    const page = await rig.browser.newPage({ viewport: { width: 1280, height: 900 }, deviceScaleFactor: density })
    watchFaults(page, rig.faults)
    await page.goto(rig.url)
    await rig.sees(page, 0, 0, picture(0, 0))
    assert.equal(await cursorOf(page), '')
    rig.machine.setCursor(0, quarteredCursor(16))
    const scale = async (): Promise<number> => ((await page.locator('canvas').boundingBox())?.width ?? 0) / SIZE.width
    const fits = async (): Promise<boolean> => {
      const cursor = await cursorOf(page)
      const shown = await scale()
      if (typeof cursor === 'string' || Math.abs(cursor.size[0] - 16 * shown) > 1) return false
      assert.deepEqual(cursor.hot, [Math.floor(8 * shown), Math.floor(4 * shown)])
      assert.deepEqual(cursor.corners, [RED, BLUE])
      return true
    }
    await until('the cursor', fits)
    assert.ok((await scale()) > 1)
    await page.getByRole('button', { name: 'Fit' }).click()
    assert.equal(await scale(), 1 / density)
    await until('the cursor at the size of its pixels', fits)
    await page.getByRole('button', { name: 'Fit' }).click()
    rig.machine.setCursor(0, quarteredCursor(64))
    await until('the largest cursor that browsers show', async () => {
      const cursor = await cursorOf(page)
      return typeof cursor !== 'string' && cursor.size.join() === '128,128' && cursor.hot.join() === '64,8'
    })
    rig.machine.setCursor(0, undefined)
    await until('no cursor', async () => (await cursorOf(page)) === 'none')
  })
}

test('the screenshot is a PNG with the exact pixels of the screen', { skip }, async () => {
  const page = await rig.open()
  const downloading = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Screenshot' }).click()
  const download = await downloading
  assert.match(download.suggestedFilename(), /^guest-screen-.*\.png$/)
  const image = decode(await readFile(await download.path()))
  assert.deepEqual([image.width, image.height], [SIZE.width, SIZE.height])
  const at = (200 * image.width - 1) * image.channels
  assert.deepEqual([...image.data.subarray(at, at + 3)], rgba([picture(319, 199)]).slice(0, 3))
})

/** Returns the minimum contrast of the page's texts with their backgrounds, and its place. */
const MIN_CONTRAST = `(() => {
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
  test(`every text has enough contrast, in ${colorScheme}`, { skip }, async () => {
    const page = await rig.open()
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    rig.machine.notify((listener) => listener.log?.('a line'))
    rig.machine.notify((listener) => listener.stopped?.({ kind: 'power-off', message: 'powered off' }))
    for (const name of ['Log', 'Inspector']) await page.getByRole('button', { name }).click()
    await page.getByText('last fault').waitFor()
    const { ratio, text } = (await page.evaluate(MIN_CONTRAST)) as { ratio: number; text: string }
    assert.ok(ratio >= 4.5, `${text}: ${ratio}`)
  })
}

test('all content fits into a narrow window', { skip }, async () => {
  const page = await rig.browser.newPage({ viewport: { width: 360, height: 740 } })
  watchFaults(page, rig.faults)
  await page.goto(rig.url)
  await connected(page)
  for (const name of ['Log', 'Inspector']) await page.getByRole('button', { name }).click()
  await page.getByText('last fault').waitFor()
  assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
})
