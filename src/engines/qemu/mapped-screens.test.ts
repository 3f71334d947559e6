import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../../test/until.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { Rect } from '../../machine/machine.ts'
import type { FrameServerOptions } from '../../sharing/frames/frame-server.ts'
import { FramesRig } from '../../sharing/frames/testing/frames-rig.ts'
import { MappedScreens } from './mapped-screens.ts'

const skip = ffiMissing() ?? false
const WHOLE: Rect = { x: 0, y: 0, width: 64, height: 48 }

/** GPU with an export socket, and a machine's screens as its client. */
class Page {
  readonly rig: FramesRig
  readonly damage: (readonly Rect[])[] = []
  readonly inPlace: boolean[] = []
  readonly log: string[] = []
  #screens: MappedScreens | undefined

  constructor(options: FrameServerOptions) {
    this.rig = new FramesRig(options)
  }

  get screens(): MappedScreens {
    assert.ok(this.#screens)
    return this.#screens
  }

  async connect(): Promise<void> {
    const { reactor, path } = this.rig
    this.#screens = await MappedScreens.connect(
      path,
      {
        damage: (_, rects) => this.damage.push(rects),
        inPlace: (_, inPlace) => this.inPlace.push(inPlace),
        log: (line) => this.log.push(line),
      },
      { reactor },
    )
  }

  /** Waits until a condition holds. */
  async until(what: () => boolean): Promise<void> {
    await until(`${what}`, what)
  }

  async close(): Promise<void> {
    this.#screens?.close()
    await this.rig.close()
  }
}

function withPage(name: string, options: FrameServerOptions, body: (page: Page) => Promise<void>): void {
  test(name, { skip }, async () => {
    const page = new Page(options)
    try {
      await body(page)
    } finally {
      await page.close()
    }
  })
}

withPage('a screen is read in place from guest memory', { memoryFiles: true }, async (page) => {
  const { rig } = page
  const picture = rig.picture(1, 64, 48)
  rig.draw(picture, 7)
  rig.show(picture)
  await page.connect()
  await page.until(() => page.damage.length === 1)
  assert.deepEqual([page.inPlace, page.damage], [[true], [[WHOLE]]])
  const part = page.screens.read(0, { x: 60, y: 40, width: 100, height: 2 })
  assert.deepEqual(part, { x: 60, y: 40, width: 4, height: 2, data: new Uint8Array(32).fill(7) })
  // Without any message.
  rig.gpu.driver.memory.regions[0].u8.fill(9, picture.address, picture.address + 4)
  assert.deepEqual(
    [...(page.screens.read(0, { x: 0, y: 0, width: 2, height: 1 })?.data ?? [])],
    [9, 9, 9, 9, 7, 7, 7, 7],
  )
  assert.deepEqual(page.screens.inspect()[0], {
    scanout: 0,
    inPlace: true,
    reason: page.screens.inspect()[0].reason,
    frames: 1,
    bytesRead: 40,
  })
  assert.deepEqual(page.log, [])
})

withPage(
  'a rectangle beyond the screen is clipped, and reading in place continues',
  { memoryFiles: true },
  async (page) => {
    const { rig } = page
    rig.show(rig.picture(1, 64, 48))
    await page.connect()
    await page.until(() => page.damage.length === 1)
    const beyond = page.screens.read(0, { x: 100, y: 40, width: 20, height: 2 })
    assert.deepEqual(beyond, { x: 64, y: 40, width: 0, height: 2, data: new Uint8Array(0) })
    assert.deepEqual([page.inPlace, page.log], [[true], []])
  },
)

withPage('damage is merged until the previous damage is acknowledged', { memoryFiles: true }, async (page) => {
  const { rig } = page
  const picture = rig.picture(1, 64, 48)
  rig.show(picture)
  await page.connect()
  await page.until(() => page.damage.length === 1)
  for (const x of [1, 20, 40]) rig.draw(picture, x, { x, y: 3, width: 2, height: 2 })
  await sleep(30)
  assert.equal(page.damage.length, 1)
  assert.ok(page.screens.taken(0))
  assert.ok(!page.screens.taken(0), 'it was acknowledged once')
  await page.until(() => page.damage.length === 2)
  const covered = ({ x, y }: Rect): boolean =>
    page.damage[1].some((rect) => rect.x <= x && x < rect.x + rect.width && rect.y <= y && y < rect.y + rect.height)
  for (const x of [1, 20, 40]) assert.ok(covered({ x, y: 3, width: 2, height: 2 }))
})

withPage('the current surface of a scanout is read, and none when it is off', { memoryFiles: true }, async (page) => {
  const { rig } = page
  const [first, second] = [rig.picture(1, 64, 48), rig.picture(2, 32, 16)]
  rig.draw(first, 1)
  rig.draw(second, 2)
  rig.show(first)
  await page.connect()
  await page.until(() => page.damage.length === 1)
  page.screens.taken(0)
  rig.show(second)
  await page.until(() => page.damage.length === 2)
  const all = page.screens.read(0, undefined)
  assert.deepEqual([all?.width, all?.height, all?.data[0], page.inPlace], [32, 16, 2, [true]])
  page.screens.taken(0)
  rig.gpu.unref(2)
  await page.until(() => page.inPlace.length === 2)
  assert.deepEqual(page.inPlace, [true, false])
  assert.equal(page.screens.read(0, undefined), undefined)
  assert.deepEqual(page.log, [], 'that is nothing to tell')
})

withPage('a screen whose bytes are not shared is read by messages, and the reason is logged once', {}, async (page) => {
  const { rig } = page
  const pictures = [rig.picture(1, 64, 48), rig.picture(2, 64, 48)]
  rig.show(pictures[0])
  await page.connect()
  for (const picture of [...pictures, ...pictures]) rig.show(picture)
  await page.until(() => page.log.length > 0)
  await sleep(30)
  assert.equal(page.log.length, 1)
  assert.match(page.log[0], /^reading pixels by messages: .*only with --export-memory/)
  assert.deepEqual([page.inPlace, page.damage], [[], []])
  assert.equal(page.screens.read(0, undefined), undefined)
  assert.equal(page.screens.inspect()[0].inPlace, false)
})

withPage('when the export socket closes, screens are read by messages again', { memoryFiles: true }, async (page) => {
  const { rig } = page
  rig.show(rig.picture(1, 64, 48))
  await page.connect()
  await page.until(() => page.inPlace.length === 1)
  rig.server.close()
  await page.until(() => page.inPlace.length === 2)
  assert.deepEqual(page.inPlace, [true, false])
  assert.equal(page.screens.read(0, undefined), undefined)
  assert.match(page.log[0], /the GPU process closed the export socket/)
})
