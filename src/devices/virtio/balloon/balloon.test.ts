import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import type { MemoryRelease } from '../../../services/memory-release.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { BalloonDevice, type BalloonOptions, MAX_PAGES } from './balloon.ts'
import { BalloonFeature } from './protocol.ts'

/** Host that records the guest addresses that it receives, as `first page+pages`. */
class RecordingHost implements MemoryRelease {
  readonly calls: string[][] = []

  release({ count, regions, offsets, lengths, byteLength }: Parameters<MemoryRelease['release']>[0]): number {
    const spans: string[] = []
    for (let i = 0; i < count; i++) spans.push(`${(regions[i].base + offsets[i]) / 4096}+${lengths[i] / 4096}`)
    if (count > 0) this.calls.push(spans)
    return byteLength
  }

  inspect(): Record<string, unknown> {
    return {}
  }
}

function balloon(options: BalloonOptions = {}, features?: bigint) {
  const host = new RecordingHost()
  const device = new BalloonDevice(host, options)
  const rig = activateDevice(device, {
    memory: MemoryRegion.over(0, new Uint8Array(16 << 20)),
    ...(features !== undefined && { features: features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC) }),
  })
  return { host, device, rig }
}

function pageNumbers(...pages: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(pages).buffer)
}

/** Returns statistics as the driver sends them. */
function statistics(...entries: readonly (readonly [tag: number, value: bigint])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(entries.length * 10))
  entries.forEach(([tag, value], i) => {
    view.setUint16(i * 10, tag, true)
    view.setBigUint64(i * 10 + 2, value, true)
  })
  return new Uint8Array(view.buffer)
}

test('a balloon has five queues, four features and 16 bytes of configuration  @virtio 5.5', () => {
  const { device } = balloon({ deflateOnOom: true })
  assert.equal(device.id, DeviceId.BALLOON)
  assert.equal(device.queueSizes.length, 5)
  assert.equal(device.features, 0b110110n)
  assert.equal(device.config.size, 16)
  assert.equal(balloon({ reporting: false }).device.features, 0b010010n)
})

test('inflated pages go to the host as sorted ranges, before the driver has its buffer back  @virtio 5.5.6.2', () => {
  const { host, rig, device } = balloon()
  assert.equal(rig.send(0, [pageNumbers(30, 12, 31, 11, 100, 32), pageNumbers(10)]).written, 0)
  assert.deepEqual(host.calls, [['10+3', '30+3', '100+1']])
  assert.equal(device.inspect()['inflatedPages'], 7)
})

test('deflated pages are counted only: they come back by page faults', () => {
  const { host, rig, device } = balloon()
  assert.equal(rig.send(1, [pageNumbers(10, 11)]).written, 0)
  assert.deepEqual(host.calls, [])
  assert.equal(device.inspect()['deflatedPages'], 2)
})

test('pages outside of guest memory are ignored, and the others are taken', () => {
  const { host, rig, device } = balloon()
  rig.send(0, [pageNumbers(0xffff_ffff, 8, 4096, 0x8000_0000)])
  assert.deepEqual(host.calls, [['8+1']])
  assert.equal(device.inspect()['ignoredPages'], 3)
})

test('a chain of more pages than a driver sends has a limit', () => {
  const { rig, device } = balloon()
  rig.send(0, [pageNumbers(...new Array<number>(MAX_PAGES + 5).fill(50))])
  assert.equal(device.inspect()['ignoredPages'], 5)
})

test('bytes after the last page number, and buffers of the wrong direction, are ignored', () => {
  const { host, rig } = balloon()
  assert.equal(rig.send(0, [[9, 0, 0]], [64]).written, 0)
  assert.equal(rig.send(3, [[1, 2, 3]]).written, 0)
  assert.deepEqual(host.calls, [])
})

test('the size is announced by a configuration change, and the driver cannot write it  @virtio 5.5.4', () => {
  const { device, rig } = balloon({ size: 8 << 20 })
  assert.equal(device.config.read(0, 4), 2048)
  device.resize(4 << 20)
  assert.equal(rig.configChanges, 1)
  assert.equal(device.config.read(0, 4), 1024)
  device.config.write(0, 4, 7)
  device.config.write(8, 4, 7)
  device.config.write(4, 4, 900)
  assert.deepEqual(
    [0, 4, 8].map((offset) => device.config.read(offset, 4)),
    [1024, 900, 0],
  )
  assert.equal(device.inspect()['actual'], 900 * 4096)
})

test('a reset forgets what the driver wrote, and keeps the size  @virtio 2.4', async () => {
  const { device, rig } = balloon({ size: 8 << 20 })
  device.config.write(4, 4, 900)
  device.config.write(12, 4, 1)
  await rig.reset()
  assert.deepEqual(
    [0, 4, 12].map((offset) => device.config.read(offset, 4)),
    [2048, 0, 0],
  )
})

test('a buffer of statistics is kept until new ones are requested  @virtio 5.5.6.3', async () => {
  const { device, rig } = balloon()
  const first = rig.submit(2, [statistics([4, 1000n], [5, 5000n])])
  assert.equal(first.reply, undefined)
  assert.deepEqual(device.inspect()['statistics'], { freeMemory: 1000, totalMemory: 5000 })
  device.requestStatistics()
  assert.equal((await first.replied).written, 0)
  rig.submit(2, [statistics([5, 5000n], [4, 900n])])
  assert.deepEqual(device.inspect()['statistics'], { freeMemory: 900, totalMemory: 5000 })
})

test('statistics may have any order and unknown tags, which are ignored  @virtio 5.5.6.3.2', () => {
  const { device, rig } = balloon()
  rig.submit(2, [Uint8Array.of(...statistics([77, 3n], [15, 2n], [0xffff, 1n], [0, 6n]), 1, 2, 3)])
  assert.deepEqual(device.inspect()['statistics'], { directReclaims: 2, swapIn: 6 })
})

test('a request for statistics without a buffer has no effect', () => {
  const { device } = balloon()
  device.requestStatistics()
  assert.deepEqual(device.inspect()['statistics'], {})
})

const REPORTING = featureSet(BalloonFeature.PAGE_REPORTING)
const POISON = featureSet(BalloonFeature.PAGE_POISON)

for (const [what, queue, features] of [
  ['2 without statistics', 2, REPORTING],
  ['3 with statistics', 3, REPORTING | featureSet(BalloonFeature.STATS_VQ)],
  ['4 as in the specification', 4, REPORTING | featureSet(BalloonFeature.STATS_VQ)],
] as const) {
  test(`free pages are reported in queue ${what}  @virtio 5.5.2, 5.5.6.7`, () => {
    const { host, rig, device } = balloon({}, features)
    rig.send(queue, [], [8192, 4096])
    assert.equal(host.calls.length, 1)
    assert.equal(device.inspect()['reportedBytes'], 12288)
  })
}

test('without the feature, the third queue is not served', () => {
  const { host, rig } = balloon({}, 0n)
  rig.rigs[2].add([], [4096])
  rig.kick(2)
  assert.equal(rig.rigs[2].pending, 1)
  assert.deepEqual(host.calls, [])
})

for (const [poison, taken] of [
  [0, 1],
  [0xaaaa_aaaa, 0],
] as const) {
  test(`reported pages that hold ${poison} ${taken ? 'go to the host' : 'keep their content'}  @virtio 5.5.6.7.2`, () => {
    const { host, rig, device } = balloon({}, REPORTING | POISON)
    device.config.write(12, 4, poison)
    rig.send(2, [], [4096])
    assert.equal(host.calls.length, taken)
  })
}

test('a restored balloon has the size, and what the driver wrote', () => {
  const { device } = balloon({ size: 1 << 20 })
  device.resize(2 << 20)
  device.config.write(4, 4, 300)
  device.config.write(12, 4, 5)
  const restored = new BalloonDevice(new RecordingHost())
  restored.restore(device.save())
  assert.deepEqual(restored.config.copy(), device.config.copy())
  assert.throws(() => restored.restore({ ...device.save(), actual: -1 }), { name: 'SnapshotError' })
})
