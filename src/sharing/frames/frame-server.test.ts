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

/** Of such a picture. */
const PAGES = 3
const UUID = Uint8Array.from({ length: 16 }, (_, i) => i)

/** Waits until a condition holds, while the server runs. */
const until = (holds: () => boolean): Promise<void> => untilHolds(`${holds}`, holds)

/** Consumer that takes frames on request of the test. */
class Taker {
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
  body: (rig: FramesRig, connect: (options?: FrameClientOptions) => Promise<Taker>) => Promise<void>,
): void {
  test(name, { skip }, async () => {
    const rig = new FramesRig(options)
    const takers: Taker[] = []
    try {
      await body(rig, async (wanted) => {
        const taker = new Taker(await FrameClient.connect(rig.path, { reactor: rig.reactor, ...wanted }))
        takers.push(taker)
        return taker
      })
    } finally {
      for (const { client } of takers) client.close()
      await rig.close()
    }
  })
}

withRig('a consumer reads the surface of a scanout in guest memory', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(7, 64, 48)
  rig.draw(picture, 0x11)
  rig.show(picture)
  const taker = await connect()
  const first = await taker.frame()
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
  const second = await taker.frame()
  assert.deepEqual(second.damage, [{ x: 8, y: 4, width: 2, height: 3 }])
  assert.equal(second.sequence, first.sequence + 1)
  assert.equal(second.merged, 0)
  assert.equal(second.bytes[4 * (4 * 64 + 8)], 0x22)
  // The same bytes: later drawing is visible at once.
  rig.draw(picture, 0x33)
  assert.equal(second.bytes[0], 0x33)
  second.acknowledge()
})

withRig('page flips between two buffers announce each buffer once', { memoryFiles: true }, async (rig, connect) => {
  const pictures = [rig.picture(1, 64, 48), rig.picture(2, 64, 48)]
  for (const [i, picture] of pictures.entries()) rig.draw(picture, 0x10 + i)
  const taker = await connect()
  const given: string[] = []
  taker.client.listen({ buffer: ({ name }) => given.push(name) })
  for (let flip = 0; flip < 6; flip++) {
    rig.show(pictures[flip % 2])
    const frame = await taker.frame()
    assert.equal(frame.buffer.name, `resource ${(flip % 2) + 1}`)
    assert.deepEqual(frame.damage, [WHOLE])
    assert.equal(frame.bytes[5], 0x10 + (flip % 2))
    frame.acknowledge()
  }
  assert.deepEqual(given, ['resource 1', 'resource 2'])
})

withRig(
  'a consumer that never acknowledges receives one frame, for any number of flushes',
  {},
  async (rig, connect) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    const taker = await connect()
    const first = await taker.frame()
    const DOT = { x: 3, y: 3, width: 1, height: 1 }
    for (let i = 0; i < 10_000; i++) {
      rig.draw(picture, i & 0xff, DOT)
      // The server runs at intervals.
      if (i % 100 === 0) await new Promise(setImmediate)
    }
    const [{ frames, merged }] = rig.server.inspect().consumers
    assert.equal(frames, 1)
    assert.equal(merged, 9999)
    first.acknowledge()
    const second = await taker.frame()
    assert.deepEqual(second.damage, [DOT])
    assert.equal(second.sequence, first.sequence + 10_000)
    assert.equal(second.merged, 9999)
    second.acknowledge()
    assert.equal(rig.gpu.inspect().scanouts[0].flushes, 10_000)
  },
)

withRig('a consumer that reads nothing delays nothing, and holds a bounded number of buffers', {}, async (rig) => {
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
  'a consumer at the limit of removed buffers receives no others until it releases some',
  {},
  async (rig, connect) => {
    const taker = await connect({ scanouts: false, buffers: true })
    let given = 0
    taker.client.listen({
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
    await until(() => [...taker.client.buffers.values()].every(({ removed }) => removed))
    assert.equal(taker.client.buffers.size, 64)
    assert.equal(rig.log.length, 1)
    assert.match(rig.log[0], /no more buffers are sent to it: it holds 64 that the guest took back/)
    for (const buffer of [...taker.client.buffers.values()]) buffer.release()
    await until(() => rig.server.inspect().consumers[0].stale === 0)
    share()
    await until(() => taker.client.buffers.size === 1)
  },
)

withRig(
  'a buffer of a consumer stays valid when the guest takes it back',
  { memoryFiles: true },
  async (rig, connect) => {
    const picture = rig.picture(1, 64, 48)
    rig.draw(picture, 0x44)
    rig.show(picture)
    const taker = await connect()
    const gone: string[] = []
    taker.client.listen({ removed: ({ name }) => gone.push(name) })
    const frame = await taker.frame()
    assert.equal(frame.bytes[0], 0x44)
    rig.gpu.unref(picture.id)
    await until(() => gone.length > 0)
    assert.deepEqual(gone, ['resource 1'])
    assert.equal(frame.bytes[0], 0x44)
    assert.ok(!frame.buffer.released)
    await until(() => taker.client.scanouts.get(0)?.path === undefined)
    frame.acknowledge()
    assert.ok(frame.buffer.released)
    assert.equal(frame.bytes[0], 0)
    await until(() => rig.buffers.inspect().buffers.length === 0)
  },
)

withRig('a kept buffer stays after its frames until it is released', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(1, 64, 48)
  rig.draw(picture, 0x55)
  rig.show(picture)
  const taker = await connect()
  const frame = await taker.frame()
  frame.buffer.keep()
  frame.acknowledge()
  rig.gpu.detach(picture.id)
  await until(() => frame.buffer.removed)
  assert.equal(frame.buffer.bytes[0], 0x55)
  assert.equal(rig.buffers.inspect().buffers[0].holders, 1)
  await until(() => taker.client.scanouts.get(0)?.buffer === undefined)
  // The guest attaches pages to the same resource again, which is still shown.
  rig.gpu.attach(picture.id, [{ address: picture.address, length: PAGES * 4096 }])
  rig.draw(picture, 0x66)
  const again = await taker.frame()
  assert.notEqual(again.buffer.id, frame.buffer.id)
  assert.equal(again.bytes[0], 0x66)
  again.acknowledge()
  frame.buffer.release()
  await until(() => rig.buffers.inspect().buffers.length === 1)
})

withRig('a released buffer is announced again with the next change', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(1, 64, 48)
  rig.show(picture)
  const taker = await connect()
  const frame = await taker.frame()
  frame.buffer.release()
  frame.acknowledge()
  await until(() => rig.buffers.inspect().buffers[0].holders === 0)
  rig.draw(picture, 0x77, { x: 1, y: 1, width: 1, height: 1 })
  const again = await taker.frame()
  assert.notEqual(again.buffer, frame.buffer)
  assert.equal(again.buffer.id, frame.buffer.id)
  assert.equal(again.bytes[4 * 65], 0x77)
  again.acknowledge()
})

withRig(
  'memory files of the guest are shared only if enabled, and those of the host always',
  {},
  async (rig, connect) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    rig.gpu.create2d(2, 2, 64, 48)
    rig.gpu.attach(2, [rig.gpu.page(4 * 64 * 48)])
    rig.gpu.setScanout(1, 2, WHOLE)
    const taker = await connect()
    assert.equal(taker.client.memoryFiles, false)
    const frames = [await taker.frame(), await taker.frame()]
    const [guest, copy] = frames.sort((a, b) => (a.scanout ?? 0) - (b.scanout ?? 0))
    assert.match(guest.buffer.withheld, /contains all guest memory.*--export-memory/)
    assert.throws(() => guest.bytes, { name: 'FrameError', message: /bytes of resource 1 are not shared/ })
    assert.equal(guest.buffer.extents.length, 0)
    assert.equal(taker.client.scanouts.get(1)?.path, 'copy')
    assert.equal(copy.buffer.withheld, '')
    assert.equal(copy.bytes.length, 12_288)
    for (const frame of frames) frame.acknowledge()
  },
)

withRig(
  'a buffer with more extents than fit in one message is complete',
  { memoryFiles: true },
  async (rig, connect) => {
    const count = 2500
    const pages = Array.from({ length: count }, () => rig.gpu.page(4096)).reverse()
    const { u8 } = rig.gpu.driver.memory.regions[0]
    for (const [i, { address }] of pages.entries()) u8[address] = i & 0xff
    rig.gpu.createBlob(1, count * 4096, pages)
    rig.gpu.setScanoutBlob(0, 1, { width: 1024, height: count })
    const taker = await connect()
    const frame = await taker.frame()
    assert.equal(frame.buffer.extents.length, count)
    for (let i = 0; i < count; i++) assert.equal(frame.bytes[i * 4096], i & 0xff)
    frame.acknowledge()
  },
)

withRig('shared buffers that no scanout shows have their own frames', { memoryFiles: true }, async (rig, connect) => {
  const page = rig.gpu.page(4096)
  rig.gpu.createBlob(1, 4096, [page], 1, 2)
  const [shared] = rig.buffers.buffers
  const taker = await connect({ scanouts: false, buffers: true })
  await taker.client.ready
  const [buffer] = taker.client.buffers.values()
  assert.equal(buffer.name, 'resource 1')
  assert.equal(buffer.picture, undefined)
  assert.equal(buffer.uuid, undefined)
  shared.describe({ width: 16, height: 16, fourcc: 0x34325258, modifier: 0n, planes: [{ offset: 0, stride: 64 }] })
  shared.assignUuid(UUID)
  shared.present({ x: 2, y: 2, width: 4, height: 4 })
  const frame = await taker.frame()
  assert.equal(frame.scanout, undefined)
  assert.equal(frame.buffer, buffer)
  assert.deepEqual(frame.damage, [{ x: 2, y: 2, width: 4, height: 4 }])
  assert.deepEqual(frame.source, { x: 0, y: 0, width: 16, height: 16 })
  assert.deepEqual(buffer.uuid, UUID)
  frame.acknowledge()
  const late = await connect({ scanouts: false, buffers: true })
  assert.deepEqual((await late.frame()).damage, [{ x: 0, y: 0, width: 16, height: 16 }])
})

withRig('all buffers of a killed consumer are released', { memoryFiles: true }, async (rig) => {
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
