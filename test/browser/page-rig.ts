import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { type ConsoleServer, serveConsole } from '../../src/console/server.ts'
import { StandInMachine } from '../../src/console/testing/stand-in-machine.ts'
import { until } from '../until.ts'
import { browserMissing, canvasPixels, launchBrowser, openPage } from './browser.ts'

export const SIZE = { width: 320, height: 200 }
export const WHOLE = { x: 0, y: 0, ...SIZE }

/** Reason why the tests of the page cannot run; false if they can. */
export const skip = browserMissing() ?? false

/** Colours that differ for all pixels, so that a misplaced pixel is detected. */
export function picture(x: number, y: number): number {
  return ((x & 0xff) << 16) | (y << 8) | ((x * 7 + y * 13) & 0xff)
}

/** Returns pixels in the order of a canvas. */
export function rgba(colors: readonly number[]): number[] {
  return colors.flatMap((color) => [color >> 16, (color >> 8) & 0xff, color & 0xff, 255])
}

/**
 * Browser for the tests of a file. Each test has a machine with a picture and a server; errors on pages fail the test.
 */
export class PageRig {
  machine = new StandInMachine([SIZE])
  faults: string[] = []
  #browser: Browser | undefined
  #server: ConsoleServer | undefined

  constructor() {
    before(async () => {
      if (!skip) this.#browser = await launchBrowser()
    })
    after(() => this.#browser?.close())
    beforeEach(async () => {
      if (skip) return
      this.faults = []
      this.machine = new StandInMachine([SIZE])
      this.machine.paint(0, WHOLE, picture)
      await this.serve()
    })
    afterEach(async () => {
      if (skip) return
      for (const context of this.browser.contexts()) await context.close()
      await this.#server?.close()
      assert.deepEqual(this.faults, [])
    })
  }

  get browser(): Browser {
    assert.ok(this.#browser)
    return this.#browser
  }

  get url(): string {
    assert.ok(this.#server)
    return this.#server.url
  }

  /** Serves the machine again, with another token. @param port default: any free port */
  async serve(port = 0): Promise<void> {
    await this.stopServing()
    this.#server = await serveConsole(this.machine, { port })
  }

  async stopServing(): Promise<void> {
    await this.#server?.close()
    this.#server = undefined
  }

  /** Opens a page, and waits until it shows the picture. */
  async open(url = this.url): Promise<Page> {
    const page = await openPage(this.browser, url, this.faults)
    await this.sees(page, SIZE.width - 1, SIZE.height - 1, picture(SIZE.width - 1, SIZE.height - 1))
    return page
  }

  async sees(page: Page, x: number, y: number, color: number): Promise<void> {
    await until(`#${color.toString(16)} at ${x},${y}`, async () => {
      const [red, green, blue] = await canvasPixels(page, { x, y, width: 1, height: 1 })
      // Without a canvas there are no pixels, which differs from black ones.
      return red !== undefined && ((red << 16) | (green << 8) | blue) === color
    })
  }

  /** Waits for a number of the machine's calls of a kind. */
  async calls(kind: RegExp, count: number): Promise<string[]> {
    const { calls } = this.machine
    const matching = (): string[] => calls.filter((call) => kind.test(call))
    await until(`${count} calls of ${kind}, of ${calls.join(', ')}`, () => matching().length >= count)
    return matching()
  }
}
