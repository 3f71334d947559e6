import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GpuDevice } from '../../../devices/virtio/gpu/gpu.ts'
import { pixelFormat } from '../../../devices/virtio/gpu/pixels/pixel-format.ts'
import { packedLayout } from '../../../devices/virtio/gpu/pixels/pixel-layout.ts'
import { GpuResponse } from '../../../devices/virtio/gpu/protocol.ts'
import { Resource2d } from '../../../devices/virtio/gpu/resources/resource.ts'
import { ResourceSurface } from '../../../devices/virtio/gpu/resources/resource-surface.ts'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { socketPair } from '../../../host/linux/unix-stream.ts'
import type { CursorPicture, PreferredModes, Rect } from '../../../services/display.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { HandReactor } from '../../socket/testing/hand-reactor.ts'
import { FrontEndDisplay } from './front-end-display.ts'
import { GpuFrontEnd } from './testing/gpu-front-end.ts'

const skip = ffiMissing() ?? false
const BGRX = 2
const RGBX = 134
const [CURSOR_POS, CURSOR_HIDE, CURSOR_UPDATE, SCANOUT, UPDATE] = [4, 5, 6, 7, 8]

/** Picture of the guest, and its surface. */
class Picture {
  readonly surface: ResourceSurface
  readonly words: Uint32Array

  constructor(
    readonly width: number,
    readonly height: number,
    code = BGRX,
  ) {
    const format = pixelFormat(code)
    assert.ok(format)
    const resource = new Resource2d(1, packedLayout(width, height, format))
    this.surface = new ResourceSurface(resource, resource.layout, { x: 0, y: 0, width, height })
    this.words = new Uint32Array(resource.shadow.buffer)
  }

  /** Fills a rectangle with consecutive numbers, starting at `first`. */
  paint({ x, y, width, height }: Rect, first: number): void {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        this.words[(y + row) * this.width + x + column] = first + row * width + column
      }
    }
  }

  get whole(): Rect {
    return { x: 0, y: 0, width: this.width, height: this.height }
  }
}

class Rig {
  readonly reactor = new HandReactor()
  readonly logged: string[] = []
  readonly display = new FrontEndDisplay(this.reactor, [{ width: 1024, height: 768 }], (line) => this.logged.push(line))
  frontEnd = this.connect()

  /** Connects a new front-end, as QEMU does each time the machine continues. */
  connect(prepare: (frontEnd: GpuFrontEnd) => void = () => {}): GpuFrontEnd {
    const [ours, theirs] = socketPair('pictures')
    this.frontEnd = new GpuFrontEnd(ours)
    prepare(this.frontEnd)
    this.display.connect(theirs)
    return this.frontEnd
  }

  settle(): void {
    for (let calm = 0; calm < 4; calm++) {
      if (this.frontEnd.receive() > 0) calm = 0
      this.reactor.turn()
    }
  }

  /** Takes the ids of messages received since the last call, without the initial requests. */
  get updates(): number[] {
    return this.frontEnd.requests.splice(0).filter((request) => request > 3)
  }

  close(): void {
    this.display.disconnect()
    this.frontEnd.close()
  }
}

test('a surface is sent completely, then its damage, without a copy', { skip }, () => {
  const rig = new Rig()
  const picture = new Picture(64, 32)
  picture.paint(picture.whole, 1)
  rig.display.scanout(0, picture.surface)
  rig.settle()
  assert.deepEqual(rig.updates, [SCANOUT, UPDATE])
  assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, picture.words)

  const rect = { x: 5, y: 7, width: 9, height: 3 }
  picture.paint(rect, 0x10_0000)
  rig.display.damage(0, rect)
  rig.settle()
  assert.deepEqual(rig.updates, [UPDATE])
  assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, picture.words)
  rig.close()
  assert.match(rig.logged.join(), /: 8300 bytes of pixels sent, 0 of them copied/)
})

test('a new surface of the same size is an update, one of another size changes the mode, and none turns the scanout off', {
  skip,
}, () => {
  const rig = new Rig()
  const [first, second, larger] = [new Picture(64, 32), new Picture(64, 32), new Picture(80, 40)]
  second.paint(second.whole, 7)
  rig.display.scanout(0, first.surface)
  rig.settle()
  rig.updates
  rig.display.scanout(0, second.surface)
  rig.settle()
  assert.deepEqual(rig.updates, [UPDATE])
  assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, second.words)
  rig.display.scanout(0, larger.surface)
  rig.settle()
  assert.deepEqual(rig.updates, [SCANOUT, UPDATE])
  assert.deepEqual([rig.frontEnd.scanouts[0]?.width, rig.frontEnd.scanouts[0]?.height], [80, 40])
  rig.display.scanout(0, undefined)
  rig.display.scanout(1, undefined)
  rig.settle()
  assert.deepEqual(rig.updates, [SCANOUT])
  assert.equal(rig.frontEnd.scanouts[0], undefined)
  rig.close()
})

test('a surface that is removed in the same turn is never sent', { skip }, () => {
  const rig = new Rig()
  rig.display.scanout(0, new Picture(64, 32).surface)
  rig.display.scanout(0, undefined)
  rig.display.scanout(0, new Picture(16, 16).surface)
  rig.display.scanout(0, undefined)
  rig.settle()
  assert.deepEqual(rig.updates, [])
  rig.close()
})

test('pixels in another order are converted in a copy', { skip }, () => {
  const rig = new Rig()
  const picture = new Picture(64, 32, RGBX)
  picture.words.fill(0x00_11_22_33)
  rig.display.scanout(0, picture.surface)
  rig.settle()
  assert.ok(rig.frontEnd.scanouts[0]?.pixels.every((word) => (word & 0xff_ffff) === 0x33_22_11))
  rig.close()
  assert.match(rig.logged.join(), /8192 of them copied/)
})

test('a large picture is sent in pieces of whole rows, at least one row each', { skip }, () => {
  const rig = new Rig()
  for (const [width, height, pieces] of [
    [1024, 768, 24],
    [16384, 9, 5],
    [1, 16384, 1],
  ]) {
    const picture = new Picture(width, height)
    picture.paint(picture.whole, 1)
    rig.display.scanout(0, picture.surface)
    rig.settle()
    assert.deepEqual(rig.updates, [SCANOUT, ...Array(pieces).fill(UPDATE)])
    assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, picture.words)
  }
  rig.close()
})

test('while the front-end is slow, damage is merged, and the newest pixels are sent when it is ready', { skip }, () => {
  const rig = new Rig()
  const picture = new Picture(1024, 768)
  rig.display.scanout(0, picture.surface)
  for (let i = 0; i < 20; i++) rig.reactor.turn()
  for (let frame = 1; frame <= 1000; frame++) {
    picture.paint({ x: 0, y: 0, width: 1024, height: 4 }, frame * 0x1_0000)
    rig.display.damage(0, { x: 0, y: 0, width: 1024, height: 4 })
    rig.reactor.turn()
  }
  rig.settle()
  assert.ok(rig.updates.length < 2 * 26, 'the pieces of two frames, not of a thousand')
  assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, picture.words)
  assert.equal(rig.display.merged, 1000)
  rig.close()
  assert.match(rig.logged.join(), /socket was full [1-9]\d* times, and 1000 damage reports/)
})

test('a scanout that changes constantly does not starve another', { skip }, () => {
  const rig = new Rig()
  const busy = new Picture(1024, 768)
  const quiet = new Picture(64, 64)
  quiet.paint(quiet.whole, 5)
  rig.display.scanout(0, busy.surface)
  rig.display.scanout(1, quiet.surface)
  for (let turns = 0; turns < 20 && !rig.frontEnd.scanouts[1]; turns++) {
    rig.display.damage(0, busy.whole)
    rig.frontEnd.receive(64 << 10)
    rig.reactor.turn()
  }
  assert.ok(rig.frontEnd.scanouts[1])
  rig.settle()
  assert.deepEqual(rig.frontEnd.scanouts[1]?.pixels, quiet.words)
  rig.close()
})

test('after any sequence of damage, surfaces, reads and reconnections, the front-end has the guest’s picture', {
  skip,
}, () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('draw'), rect: fc.tuple(fc.nat(299), fc.nat(199), fc.nat(300), fc.nat(200)) }),
    fc.record({ kind: fc.constant('show'), picture: fc.nat(2) }),
    fc.record({ kind: fc.constant('read'), bytes: fc.integer({ min: 1, max: 200_000 }) }),
    fc.record({ kind: fc.constant('turn') }),
    fc.record({ kind: fc.constant('again') }),
  )
  type Step = { kind: string; rect?: number[]; picture?: number; bytes?: number }
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps: Step[]) => {
      const rig = new Rig()
      const pictures = [new Picture(300, 200), new Picture(300, 200), new Picture(120, 70)]
      let shown = pictures[0]
      rig.display.scanout(0, shown.surface)
      let next = 1
      for (const { kind, rect, picture, bytes } of steps) {
        if (kind === 'turn') rig.reactor.turn()
        if (bytes !== undefined) rig.frontEnd.receive(bytes)
        if (kind === 'again') {
          rig.frontEnd.close()
          rig.connect()
        }
        if (picture !== undefined) {
          shown = pictures[picture]
          rig.display.scanout(0, shown.surface)
        }
        if (rect) {
          const [x, y] = [rect[0] % shown.width, rect[1] % shown.height]
          const cut = { x, y, width: Math.min(rect[2], shown.width - x), height: Math.min(rect[3], shown.height - y) }
          shown.paint(cut, next)
          next += 0x10_0000
          rig.display.damage(0, cut)
        }
      }
      rig.settle()
      assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, shown.words)
      rig.close()
    }),
    { numRuns: 40 },
  )
})

const CURSOR: CursorPicture = {
  ...{ width: 64, height: 64, hotX: 3, hotY: 4 },
  data: new Uint8Array(64 * 64 * 4).fill(0x80, 0, 4).fill(0xff, 4, 8),
}

test('a cursor picture is sent once, then positions, which may be outside of the scanout', { skip }, () => {
  const rig = new Rig()
  rig.display.cursor(0, CURSOR)
  rig.display.moveCursor(0, 10, 20)
  rig.settle()
  assert.deepEqual(rig.updates, [CURSOR_UPDATE])
  const { pixels, ...rest } = rig.frontEnd.cursors[0] ?? { pixels: [] }
  assert.deepEqual(rest, { x: 10, y: 20, visible: true, hotX: 3, hotY: 4 })
  // Premultiplied: half of each colour at half of alpha.
  assert.deepEqual([...pixels.slice(0, 3)], [0x80_40_40_40, 0xffff_ffff, 0])
  assert.equal(pixels.length, 64 * 64)

  for (let i = 0; i < 100; i++) rig.display.moveCursor(0, -i, i)
  rig.settle()
  assert.deepEqual(rig.updates, [CURSOR_POS])
  assert.deepEqual([rig.frontEnd.cursors[0]?.x, rig.frontEnd.cursors[0]?.y], [-99, 99])
  rig.close()
})

test('a hidden cursor stays hidden while it moves, and appears at its new position', { skip }, () => {
  const rig = new Rig()
  rig.display.cursor(1, CURSOR)
  rig.settle()
  rig.updates
  rig.display.cursor(1, undefined)
  rig.settle()
  assert.deepEqual(rig.updates, [CURSOR_HIDE])
  assert.equal(rig.frontEnd.cursors[1]?.visible, false)
  rig.display.moveCursor(1, 7, 8)
  rig.settle()
  assert.deepEqual(rig.updates, [])
  rig.display.cursor(1, CURSOR)
  rig.settle()
  assert.deepEqual([rig.frontEnd.cursors[1]?.x, rig.frontEnd.cursors[1]?.visible], [7, true])
  rig.close()
})

test('a new front-end receives the whole surface and the cursor', { skip }, () => {
  const rig = new Rig()
  const picture = new Picture(64, 32)
  picture.paint(picture.whole, 3)
  rig.display.scanout(0, picture.surface)
  rig.display.cursor(0, CURSOR)
  rig.settle()
  rig.frontEnd.close()
  rig.reactor.turn()
  picture.paint(picture.whole, 9)
  rig.display.damage(0, picture.whole)
  rig.connect()
  rig.settle()
  assert.deepEqual(rig.updates, [CURSOR_UPDATE, SCANOUT, UPDATE])
  assert.deepEqual(rig.frontEnd.scanouts[0]?.pixels, picture.words)
  rig.close()
})

test('the guest receives the preferred modes of the front-end', { skip }, () => {
  const rig = new Rig()
  rig.connect((frontEnd) => {
    frontEnd.features = 0n
    frontEnd.sizes[1] = { width: 640, height: 480 }
  })
  const answers: PreferredModes[] = []
  rig.display.preferredModes((modes) => answers.push(modes))
  assert.equal(answers.length, 0)
  rig.settle()
  assert.equal(answers.length, 1)
  assert.deepEqual(answers[0].slice(0, 3), [{ width: 1280, height: 800 }, { width: 640, height: 480 }, undefined])
  rig.close()
})

test('without an answer or a front-end, the guest receives the previous preferred modes', { skip }, () => {
  const rig = new Rig()
  rig.connect((frontEnd) => {
    frontEnd.answers = false
  })
  const answers: PreferredModes[] = []
  const known: PreferredModes = [{ width: 1024, height: 768 }]
  rig.display.preferredModes((modes) => answers.push(modes))
  rig.reactor.elapse(10_000)
  assert.deepEqual(answers, [known])
  assert.match(rig.logged.join(), /did not send its preferred modes in time/)
  rig.display.preferredModes((modes) => answers.push(modes))
  rig.display.disconnect()
  assert.deepEqual(answers, [known, known])
  rig.display.preferredModes((modes) => answers.push(modes))
  assert.deepEqual(answers, [known, known, known])
  rig.close()
})

test('a missing GPU_SET_SOCKET is logged once', { skip }, () => {
  const rig = new Rig()
  rig.display.disconnect()
  rig.display.scanout(0, new Picture(8, 8).surface)
  rig.display.scanout(0, new Picture(8, 8).surface)
  rig.reactor.turn()
  assert.equal(rig.logged.filter((line) => line.startsWith('no display')).length, 1)
  rig.close()
})

test('a GPU device with this display reports the front-end’s modes, and sends what its driver draws', { skip }, () => {
  const rig = new Rig()
  rig.connect((frontEnd) => {
    frontEnd.features = 0n
  })
  const device = new GpuDevice(rig.display, { scanouts: [{ width: 1024, height: 768 }] })
  const driver = activateDevice(device)
  const control = (type: number, ...words: number[]) =>
    driver.submit(0, [new Uint8Array(Uint32Array.of(type, 0, 0, 0, 0, 0, ...words).buffer)], [1056])
  const info = control(0x0100)
  const create = control(0x0101, 1, BGRX, 16, 8)
  assert.deepEqual([info.reply, create.reply], [undefined, undefined])
  rig.settle()
  assert.ok(create.reply)
  const answer = new Uint32Array((info.reply?.bytes ?? new Uint8Array(0)).slice().buffer)
  assert.deepEqual([answer[0], ...answer.subarray(8, 11)], [GpuResponse.OK_DISPLAY_INFO, 1280, 800, 1])

  const address = driver.allocator.allocate(16 * 8 * 4)
  driver.rigs[0].poke(address, new Uint8Array(16 * 8 * 4).fill(0x5a))
  control(0x0106, 1, 1, address, 0, 16 * 8 * 4, 0)
  control(0x0103, 0, 0, 16, 8, 0, 1)
  control(0x0105, 0, 0, 16, 8, 0, 0, 1, 0)
  control(0x0104, 0, 0, 16, 8, 1, 0)
  rig.settle()
  assert.ok(rig.frontEnd.scanouts[0]?.pixels.every((word) => word === 0x5a5a_5a5a))
  rig.close()
})
