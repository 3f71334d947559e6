import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { vfioUserArguments } from '../../src/engines/qemu/arguments.ts'
import type { Rect } from '../../src/services/rect.ts'
import type { Frame } from '../../src/sharing/frames/frame.ts'
import { FrameClient } from '../../src/sharing/frames/frame-client.ts'
import type { ReceivedBuffer } from '../../src/sharing/frames/received-buffer.ts'
import { scratchFolder } from './device-program.ts'
import { type GpuProcess, startGpu } from './gpu-process.ts'
import { ImportingGuest, type PictureInBuffer } from './importing-guest.ts'
import { IMPORTING_IMAGE } from './importing-image.ts'
import { XR24 } from './kernel-screen.ts'
import { findImageForPrograms, MACHINE_FILES } from './machine-files.ts'
import { bootPortGuest } from './port-guest.ts'

const [WIDTH, HEIGHT] = [1024, 768]
const WHOLE: Rect = { x: 0, y: 0, width: WIDTH, height: HEIGHT }
const PART: Rect = { x: 10, y: 20, width: 300, height: 40 }
/** Pictures with different offsets; only the last one has rows without gaps. */
const PICTURES: readonly PictureInBuffer[] = [
  { width: WIDTH, height: HEIGHT, offset: 35_360, columns: 1100, rows: 800 },
  { width: WIDTH, height: HEIGHT, offset: 12_288, columns: 1040, rows: 780 },
  { width: WIDTH, height: HEIGHT, offset: 64, columns: 1032, rows: 770 },
  { width: WIDTH, height: HEIGHT, offset: 0, columns: WIDTH, rows: HEIGHT },
]
const FLIPS = 10
const TIMEOUT_MS = 60_000
const folder = scratchFolder()

test('the device shows buffers of another GPU in the guest, and a program of the host reads their pages', async (context) => {
  const image = await findImageForPrograms(IMPORTING_IMAGE)
  if (typeof image === 'string') {
    context.skip(image)
    return
  }
  const gpu = await startGpu(path.join(folder, 'screen.sock'))
  const heap = await startGpu(path.join(folder, 'heap.sock'), ['--heap=16M'])
  const client = await FrameClient.connect(gpu.exported)
  const port = await bootPortGuest({
    ...{ folder, image, memoryMiB: 1024 },
    arguments: [gpu, heap].flatMap(({ socket }) => vfioUserArguments(socket)).concat(MACHINE_FILES),
  })
  try {
    const guest = await ImportingGuest.start(port)
    const [first, second, third, fourth] = [0, 1, 2, 3]
    const seen = new Watcher(client)
    const { made } = (await gpu.inspect()).buffers

    for (const name of [first, second]) await guest.make(name, PICTURES[name])
    assert.deepEqual([guest.stride(first), guest.stride(second)], [4400, 4160])
    await guest.draw(first, 1, WHOLE)
    await guest.order('show', first)
    const shown = await seen.frameOf(guest, first)
    const { buffer } = shown
    const { unavailable } = (await gpu.inspect()).buffers
    if (unavailable !== null) assert.deepEqual([buffer.kind, buffer.reason], ['linear', unavailable])
    shown.acknowledge()

    // The kernel may take the reported outputs for all outputs.
    await guest.draw(first, 2, PART)
    const before = await gpu.inspect()
    assert.equal(before.buffers.made.buffers - made.buffers, 2)
    await guest.order('flush', first, PART.x, PART.y, PART.width, PART.height)
    const { lastDamage } = (await gpu.inspect()).scanouts[0]
    assert.ok(lastDamage)
    context.diagnostic(`of ${JSON.stringify(PART)} the guest’s kernel flushed ${JSON.stringify(lastDamage)}`)
    assert.ok(covers(lastDamage, PART))
    const flushed = await seen.frameOf(guest, first, [lastDamage])
    assert.equal(flushed.buffer, buffer)
    flushed.acknowledge()

    const buffers = [buffer]
    for (let flip = 1; flip <= FLIPS; flip++) {
      const name = flip % 2
      await guest.draw(name, 10 + flip, flip === 1 ? WHOLE : PART)
      await guest.order('flip', name)
      const frame = await seen.frameOf(guest, name)
      buffers[name] ??= frame.buffer
      assert.equal(frame.buffer, buffers[name], `flip ${flip}`)
      frame.acknowledge()
    }
    const after = await gpu.inspect()
    assert.deepEqual(after.buffers.made, before.buffers.made)
    assert.deepEqual(done(before, after), {
      ...{ RESOURCE_CREATE_BLOB: 0, SET_SCANOUT_BLOB: FLIPS, RESOURCE_FLUSH: 1 + FLIPS },
      ...{ TRANSFER_TO_HOST_2D: 0, RESOURCE_DETACH_BACKING: 0, RESOURCE_UNREF: 0 },
    })
    const [{ path: way, bytesCopied, bytesRead, bytesTransferred }] = after.scanouts
    assert.deepEqual([way, bytesCopied, bytesRead, bytesTransferred], [buffer.kind, 0, 0, 0])

    // The import ends while the buffer is shown, and while a program of the host holds a frame of it.
    await guest.draw(first, 30, PART)
    await guest.order('flush', first, PART.x, PART.y, PART.width, PART.height)
    const held = await seen.frameOf(guest, first)
    const gone = seen.gone(buffer)
    await guest.order('forget', first)
    await gone
    assert.equal(client.scanouts.get(0)?.path, undefined)
    assert.equal((await gpu.inspect()).scanouts[0].mode, null)
    assertPixels(held, guest, first)
    // The pages still belong to the other card, which continues to draw.
    await guest.draw(first, 31, WHOLE)
    assertPixels(held, guest, first)
    assert.equal(buffer.released, false)
    held.acknowledge()
    assert.equal(buffer.released, true)

    // Further buffers in turn; each is released when the next one exists.
    for (const name of [third, fourth]) {
      await guest.make(name, PICTURES[name])
      await guest.draw(name, 40 + name, WHOLE)
      await guest.order(name === third ? 'show' : 'flip', name)
      const frame = await seen.frameOf(guest, name)
      frame.acknowledge()
      const old = buffers.at(-1)
      assert.ok(old)
      const oldGone = seen.gone(old)
      await guest.order('forget', name - 1)
      await oldGone
      assert.equal(client.scanouts.get(0)?.buffer, frame.buffer)
      buffers.push(frame.buffer)
    }
    const { data } = await gpu.pixels()
    assert.ok(Buffer.from(data).equals(guest.expected(fourth)))

    // A card with a heap supports 3D contexts, for which the kernel may refuse imports.
    const refusal = await guest.order('offer', fourth).then(
      () => undefined,
      (error: Error) => error.message,
    )
    context.diagnostic(`to a GPU with a heap: ${refusal ?? 'imported'}`)
    if (refusal !== undefined) assert.match(refusal, /ENODEV/)

    const last = seen.gone(buffers.at(-1))
    await guest.end()
    await last
    const end = await gpu.inspect()
    assert.deepEqual([end.errors, (await heap.inspect()).errors], [{}, {}])
    assert.deepEqual(
      [...end.buffers.buffers].filter(({ removed }) => removed),
      [],
    )
    const log = await port.run('dmesg')
    assert.doesNotMatch(log, /WARNING|BUG|\*ERROR\*|response 0x1/)
  } finally {
    await port.kill()
    client.close()
    await gpu.stop()
    await heap.stop()
  }
})

/** Returns the numbers of commands about buffers since a previous inspection. */
function done(before: Inspection, after: Inspection): Record<string, number> {
  const names = ['RESOURCE_CREATE_BLOB', 'SET_SCANOUT_BLOB', 'RESOURCE_FLUSH', 'TRANSFER_TO_HOST_2D']
  return Object.fromEntries(
    [...names, 'RESOURCE_DETACH_BACKING', 'RESOURCE_UNREF'].map((name) => [
      name,
      (after.commands[name] ?? 0) - (before.commands[name] ?? 0),
    ]),
  )
}

type Inspection = Awaited<ReturnType<GpuProcess['inspect']>>

function covers(outer: Rect, inner: Rect): boolean {
  return (
    outer.x <= inner.x &&
    outer.y <= inner.y &&
    outer.x + outer.width >= inner.x + inner.width &&
    outer.y + outer.height >= inner.y + inner.height
  )
}

/** Checks that the whole buffer has the guest's drawing, in place, and nothing outside the picture. */
function assertPixels(frame: Frame, guest: ImportingGuest, name: number): void {
  assert.ok(Buffer.from(frame.bytes.buffer, frame.bytes.byteOffset, frame.bytes.length).equals(guest.expected(name)))
}

/** Time-out of every wait. */
async function soon<T>(what: string, promise: Promise<T>): Promise<T> {
  let late: NodeJS.Timeout | undefined
  const never = new Promise<never>((_resolve, reject) => {
    late = setTimeout(() => reject(new Error(`${what} never came`)), TIMEOUT_MS)
  })
  try {
    return await Promise.race([promise, never])
  } finally {
    clearTimeout(late)
  }
}

/** Program of the host that watches the guest's only screen. */
class Watcher {
  readonly #frames: AsyncIterator<Frame, void>

  constructor(private readonly client: FrameClient) {
    this.#frames = client.frames()
  }

  /** Returns the next frame of a buffer, after checking its pixels. @param damage only a frame with this damage */
  async frameOf(guest: ImportingGuest, name: number, damage?: readonly Rect[]): Promise<Frame> {
    const { offset, width, height } = PICTURES[name]
    for (;;) {
      const { value: frame } = await soon(`a frame of picture ${name}`, this.#frames.next())
      if (!frame) throw new Error('the device has ended')
      const isIt = frame.picture.planes[0].offset === offset && frame.picture.planes[0].stride === guest.stride(name)
      if (isIt && (!damage || JSON.stringify(damage) === JSON.stringify(frame.damage))) {
        const planes = [{ offset, stride: guest.stride(name) }]
        assert.deepEqual(frame.picture, { width, height, fourcc: XR24, modifier: 0n, planes })
        assert.deepEqual(frame.source, WHOLE)
        assertPixels(frame, guest, name)
        return frame
      }
      frame.acknowledge()
    }
  }

  /** Resolves when the guest took a buffer back. */
  gone(buffer: ReceivedBuffer | undefined): Promise<void> {
    const notified = new Promise<void>((resolve) => {
      const end = this.client.listen({
        removed: (which) => {
          if (which !== buffer) return
          end()
          resolve()
        },
      })
    })
    return soon(`the end of ${buffer?.name}`, notified)
  }
}
