import { execFileSync } from 'node:child_process'
import { type Browser, chromium, type Page } from 'playwright-core'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

function chromiumPath(): string | undefined {
  try {
    return execFileSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}

/** Reason why no page can be shown; undefined if one can. */
export function browserMissing(): string | undefined {
  return chromiumPath() ? undefined : 'there is no Chromium: apt-get install chromium'
}

export function launchBrowser(): Promise<Browser> {
  const executablePath = chromiumPath()
  if (!executablePath) throw new Error('no Chromium')
  return chromium.launch({ executablePath, headless: true, args: FLAGS })
}

/** Opens a page and waits until it is connected. Errors of its script and violations of its policy fail the test. */
export async function openPage(browser: Browser, url: string, faults: string[]): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  watchFaults(page, faults)
  await page.goto(url)
  await connected(page)
  return page
}

export function watchFaults(page: Page, faults: string[]): void {
  page.on('pageerror', (error) => faults.push(String(error)))
  page.on('console', (message) => {
    // The browser logs lost connections, which some tests cause.
    const isExpected = /WebSocket connection|Failed to load resource/.test(message.text())
    if (message.type() === 'error' && !isExpected) faults.push(message.text())
  })
}

export async function connected(page: Page): Promise<void> {
  await page.locator('html[data-connection=open]').waitFor({ state: 'attached' })
}

/** Returns a part of a screen's canvas as R, G, B, A; undefined if there is no canvas yet. */
export function canvasPixels(
  page: Page,
  { x, y, width, height }: { x: number; y: number; width: number; height: number },
  scanout = 0,
): Promise<number[]> {
  const canvas = `document.querySelectorAll('canvas')[${scanout}]`
  return page.evaluate(`[...${canvas}?.getContext('2d').getImageData(${x}, ${y}, ${width}, ${height}).data ?? []]`)
}

export function canvasSize(page: Page, scanout = 0): Promise<[number, number]> {
  const canvas = `document.querySelectorAll('canvas')[${scanout}]`
  return page.evaluate(`[${canvas}?.width ?? 0, ${canvas}?.height ?? 0]`)
}

/** Returns the SHA-256 of all pixels of the first screen's canvas, for pictures too large to transfer. */
export function canvasDigest(page: Page): Promise<string> {
  return page.evaluate(`(async () => {
    const { width, height } = document.querySelector('canvas')
    const { data } = document.querySelector('canvas').getContext('2d').getImageData(0, 0, width, height)
    const digest = await crypto.subtle.digest('SHA-256', data)
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
  })()`)
}
