import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { until as untilHolds } from '../../../test/until.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import type { Frame } from './frame.ts'
import { FrameClient, type FrameClientOptions } from './frame-client.ts'
import type { FrameServerOptions } from './frame-server.ts'
import { Wanted } from './protocol.ts'
import { FramesRig } from './testing/frames-rig.ts'
import { RawConsumer } from './testing/raw-consumer.ts'

const skip = ffiMissing() ?? false
const WHOLE = { x: 0, y: 0, width: 64, height: 48 }

/** Pages of a picture of 64 by 48 pixels. */
const PAGES = 3
const UUID = Uint8Array.from({ length: 16 }, (_, i) => i)

/** Waits until a condition holds. */
const until = (holds: () => boolean): Promise<void> => untilHolds(`${holds}`, holds)

/** Consumer that takes frames one by one, as the test requests them. */
class FrameReader {
  readonly #frames: AsyncGenerator<Frame, void, undefined>
  constructor(readonly client: FrameClient) {
    this.#frames = client.frames()
  }
  async frame(): Promise<Frame> {
    const { value } = await this.#frames.next()
    assert.ok(value)
    return value
  }
}

function withRig(
  name: string,
  options: FrameServerOptions,
  body: (rig: FramesRig, connect: (options?: FrameClientOptions) => Promise<FrameReader>) => Promise<void>,
): void {
  test(name, { skip }, async () => {
    const rig = new FramesRig(options)
    const readers: FrameReader[] = []
    try {
      await body(rig, async (options) => {
        const reader = new FrameReader(await FrameClient.connect(rig.path, { reactor: rig.reactor, ...options }))
        readers.push(reader)
        return reader
      })
    } finally {
      for (const { client } of readers) client.close()
      await rig.close()
    }
  })
}

withRig(
  'a consumer sees the pixels of a scanout in the guest’s own pages',
  { memoryFiles: true },
  async (rig, connect) => {
    const picture = rig.picture(7, 64, 48)
    rig.draw(picture, 0x11)
    rig.show(picture)
    const reader = await connect()
    const first = await reader.frame()
    assert.equal(first.scanout, 0)
    assert.deepEqual(first.damage, [WHOLE])
    assert.deepEqual(first.source, WHOLE)
    assert.equal(first.buffer.name, 'resource 7')
    assert.equal(first.buffer.kind, 'linear')
    assert.match(first.buffer.reason, /there is no \/dev\/there-is-no-udmabuf/)
    assert.equal(first.picture.fourcc, 0x34325258)
    assert.deepEqual(first.picture.planes, [{ offset: 0, stride: 256 }])
    assert.equal(first.bytes[0], 0x11)
    first.acknowledge()
    rig.draw(picture, 0x22, { x: 8, y: 4, width: 2, height: 3 })
    const second = await reader.frame()
    assert.deepEqual(second.damage, [{ x: 8, y: 4, width: 2, height: 3 }])
    assert.equal(second.sequence, first.sequence + 1)
    assert.equal(second.merged, 0)
    assert.equal(second.bytes[4 * (4 * 64 + 8)], 0x22)
    // The consumer maps the same bytes, so it sees later drawing at once.
    rig.draw(picture, 0x33)
    assert.equal(second.bytes[0], 0x33)
    second.acknowledge()
  },
)

withRig('two buffers between which a guest flips are each sent once', { memoryFiles: true }, async (rig, connect) => {
  const pictures = [rig.picture(1, 64, 48), rig.picture(2, 64, 48)]
  for (const [i, picture] of pictures.entries()) rig.draw(picture, 0x10 + i)
  const reader = await connect()
  const given: string[] = []
  reader.client.listen({ buffer: ({ name }) => given.push(name) })
  for (let flip = 0; flip < 6; flip++) {
    rig.show(pictures[flip % 2])
    const frame = await reader.frame()
    assert.equal(frame.buffer.name, `resource ${(flip % 2) + 1}`)
    assert.deepEqual(frame.damage, [WHOLE])
    assert.equal(frame.bytes[5], 0x10 + (flip % 2))
    frame.acknowledge()
  }
  assert.deepEqual(given, ['resource 1', 'resource 2'])
})

withRig(
  'a consumer that does not acknowledge receives one frame, however often the guest flushes',
  {},
  async (rig, connect) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    const reader = await connect()
    const first = await reader.frame()
    const DOT = { x: 3, y: 3, width: 1, height: 1 }
    for (let i = 0; i < 10_000; i++) {
      rig.draw(picture, i & 0xff, DOT)
      // Lets the server take a turn.
      if (i % 100 === 0) await new Promise(setImmediate)
    }
    const [{ frames, merged }] = rig.server.inspect().consumers
    assert.equal(frames, 1)
    assert.equal(merged, 9999)
    first.acknowledge()
    const second = await reader.frame()
    assert.deepEqual(second.damage, [DOT])
    assert.equal(second.sequence, first.sequence + 10_000)
    assert.equal(second.merged, 9999)
    second.acknowledge()
    assert.equal(rig.gpu.inspect().scanouts[0].flushes, 10_000)
  },
)

withRig('a consumer that does not read delays no other, and the buffers that it holds are limited', {}, async (rig) => {
  const consumer = new RawConsumer(rig.path)
  consumer.greet(Wanted.SCANOUTS | Wanted.BUFFERS)
  const picture = rig.picture(1, 8, 8)
  rig.gpu.unref(picture.id)
  for (let i = 0; i < 3000; i++) {
    rig.gpu.createBlob(picture.id, 4096, [{ address: picture.address, length: 4096 }])
    rig.show(picture, i % 2)
    rig.draw(picture, i & 0xff)
    rig.gpu.unref(picture.id)
    await new Promise(setImmediate)
  }
  const { stale, buffers } = rig.server.inspect().consumers[0]
  assert.ok(stale <= 64 && buffers <= 65, `${stale} stale, ${buffers} buffers`)
  assert.ok(rig.buffers.inspect().buffers.length <= 65)
  consumer.close()
  await until(() => rig.server.inspect().consumers.length === 0)
  assert.deepEqual(rig.buffers.inspect().buffers, [])
})

withRig(
  'a consumer that holds too many buffers that the guest took back receives no more until it releases some',
  {},
  async (rig, connect) => {
    const reader = await connect({ scanouts: false, buffers: true })
    let given = 0
    reader.client.listen({
      buffer(buffer) {
        buffer.keep()
        given++
      },
    })
    const { address } = rig.gpu.page(4096)
    const share = () => rig.gpu.createBlob(1, 4096, [{ address, length: 4096 }], 1, 2)
    for (let i = 1; i <= 64; i++) {
      share()
      await until(() => given === i)
      rig.gpu.unref(1)
    }
    await until(() => rig.server.inspect().consumers[0].stale === 64)
    share()
    await until(() => rig.log.length > 0)
    rig.gpu.unref(1)
    await until(() => [...reader.client.buffers.values()].every(({ removed }) => removed))
    assert.equal(reader.client.buffers.size, 64)
    assert.equal(rig.log.length, 1)
    assert.match(rig.log[0], /no more buffers are sent to it: it holds 64 that the guest took back/)
    for (const buffer of [...reader.client.buffers.values()]) buffer.release()
    await until(() => rig.server.inspect().consumers[0].stale === 0)
    share()
    await until(() => reader.client.buffers.size === 1)
  },
)

withRig(
  'a frame that a consumer holds stays intact when the guest destroys the resource',
  { memoryFiles: true },
  async (rig, connect) => {
    const picture = rig.picture(1, 64, 48)
    rig.draw(picture, 0x44)
    rig.show(picture)
    const reader = await connect()
    const removed: string[] = []
    reader.client.listen({ removed: ({ name }) => removed.push(name) })
    const frame = await reader.frame()
    assert.equal(frame.bytes[0], 0x44)
    rig.gpu.unref(picture.id)
    await until(() => removed.length > 0)
    assert.deepEqual(removed, ['resource 1'])
    assert.equal(frame.bytes[0], 0x44)
    assert.ok(!frame.buffer.released)
    await until(() => reader.client.scanouts.get(0)?.path === undefined)
    frame.acknowledge()
    assert.ok(frame.buffer.released)
    assert.equal(frame.bytes[0], 0)
    await until(() => rig.buffers.inspect().buffers.length === 0)
  },
)

withRig('a kept buffer outlives its frames until it is released', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(1, 64, 48)
  rig.draw(picture, 0x55)
  rig.show(picture)
  const reader = await connect()
  const frame = await reader.frame()
  frame.buffer.keep()
  frame.acknowledge()
  rig.gpu.detach(picture.id)
  await until(() => frame.buffer.removed)
  assert.equal(frame.buffer.bytes[0], 0x55)
  assert.equal(rig.buffers.inspect().buffers[0].holders, 1)
  await until(() => reader.client.scanouts.get(0)?.buffer === undefined)
  // The guest attaches pages to the resource again, which is still on the scanout.
  rig.gpu.attach(picture.id, [{ address: picture.address, length: PAGES * 4096 }])
  rig.draw(picture, 0x66)
  const again = await reader.frame()
  assert.notEqual(again.buffer.id, frame.buffer.id)
  assert.equal(again.bytes[0], 0x66)
  again.acknowledge()
  frame.buffer.release()
  await until(() => rig.buffers.inspect().buffers.length === 1)
})

withRig('a released buffer is sent again with the next damage', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(1, 64, 48)
  rig.show(picture)
  const reader = await connect()
  const frame = await reader.frame()
  frame.buffer.release()
  frame.acknowledge()
  await until(() => rig.buffers.inspect().buffers[0].holders === 0)
  rig.draw(picture, 0x77, { x: 1, y: 1, width: 1, height: 1 })
  const again = await reader.frame()
  assert.notEqual(again.buffer, frame.buffer)
  assert.equal(again.buffer.id, frame.buffer.id)
  assert.equal(again.bytes[4 * 65], 0x77)
  again.acknowledge()
})

withRig('memory files are sent only with memoryFiles; the host’s copies always', {}, async (rig, connect) => {
  const picture = rig.picture(1, 64, 48)
  rig.draw(picture, 0x55)
  rig.show(picture)
  rig.gpu.create2d(2, 2, 64, 48)
  rig.gpu.attach(2, [rig.gpu.page(4 * 64 * 48)])
  rig.gpu.setScanout(1, 2, WHOLE)
  const reader = await connect()
  assert.equal(reader.client.memoryFiles, false)
  const frames = [await reader.frame(), await reader.frame()]
  const [guest, copy] = frames.sort((a, b) => (a.scanout ?? 0) - (b.scanout ?? 0))
  assert.match(guest.buffer.withheld, /contains all guest memory.*--export-memory/)
  assert.throws(() => guest.bytes, { name: 'FrameError', message: /bytes of resource 1 are not shared/ })
  assert.equal(guest.buffer.extents.length, 0)
  assert.equal(reader.client.scanouts.get(1)?.path, 'copy')
  assert.equal(copy.buffer.withheld, '')
  assert.equal(copy.bytes.length, 12_288)
  for (const frame of frames) frame.acknowledge()
})

withRig(
  'a buffer with more pieces than fit one message is sent completely',
  { memoryFiles: true },
  async (rig, connect) => {
    const count = 2500
    const pages = Array.from({ length: count }, () => rig.gpu.page(4096)).reverse()
    const { u8 } = rig.gpu.driver.memory.regions[0]
    for (const [i, { address }] of pages.entries()) u8[address] = i & 0xff
    rig.gpu.createBlob(1, count * 4096, pages)
    rig.gpu.setScanoutBlob(0, 1, { width: 1024, height: count })
    const reader = await connect()
    const frame = await reader.frame()
    assert.equal(frame.buffer.extents.length, count)
    for (let i = 0; i < count; i++) assert.equal(frame.bytes[i * 4096], i & 0xff)
    frame.acknowledge()
  },
)

withRig('shared buffers that are on no scanout have their own frames', { memoryFiles: true }, async (rig, connect) => {
  const page = rig.gpu.page(4096)
  rig.gpu.createBlob(1, 4096, [page], 1, 2)
  const [shared] = rig.buffers.buffers
  const reader = await connect({ scanouts: false, buffers: true })
  await reader.client.ready
  const [buffer] = reader.client.buffers.values()
  assert.equal(buffer.name, 'resource 1')
  assert.equal(buffer.picture, undefined)
  assert.equal(buffer.uuid, undefined)
  shared.describe({ width: 16, height: 16, fourcc: 0x34325258, modifier: 0n, planes: [{ offset: 0, stride: 64 }] })
  shared.assignUuid(UUID)
  shared.present({ x: 2, y: 2, width: 4, height: 4 })
  const frame = await reader.frame()
  assert.equal(frame.scanout, undefined)
  assert.equal(frame.buffer, buffer)
  assert.deepEqual(frame.damage, [{ x: 2, y: 2, width: 4, height: 4 }])
  assert.deepEqual(frame.source, { x: 0, y: 0, width: 16, height: 16 })
  assert.deepEqual(buffer.uuid, UUID)
  frame.acknowledge()
  const late = await connect({ scanouts: false, buffers: true })
  assert.deepEqual((await late.frame()).damage, [{ x: 0, y: 0, width: 16, height: 16 }])
})

withRig('all resources of a killed consumer are released', { memoryFiles: true }, async (rig) => {
  const picture = rig.picture(1, 64, 48)
  rig.show(picture)
  const before = readdirSync('/proc/self/fd').length
  const client = new URL('./frame-client.js', import.meta.url).href
  const program = `
    const { FrameClient } = await import(${JSON.stringify(client)})
    for await (const frame of (await FrameClient.connect(${JSON.stringify(rig.path)})).frames()) console.log(frame.bytes.length)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(child.stdout, 'data')
  assert.equal(String(line), '12288\n')
  assert.equal(rig.buffers.inspect().buffers[0].holders, 1)
  child.kill('SIGKILL')
  await once(child, 'close')
  await until(() => rig.server.inspect().consumers.length === 0)
  assert.equal(rig.buffers.inspect().buffers[0].holders, 0)
  assert.deepEqual(rig.log, [])
  rig.draw(picture, 1)
  await until(() => readdirSync('/proc/self/fd').length === before)
})
