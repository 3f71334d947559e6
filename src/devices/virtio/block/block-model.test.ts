import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import type { Layout, Reply } from '../../../virtqueue/driver/index.ts'
import { BlockDevice } from './block.ts'
import { BlkStatus, BlkType } from './protocol.ts'
import { cut, header, pattern, segment, status } from './testing/driver-requests.ts'
import { HeldDisk } from './testing/held-disk.ts'

const SECTORS = 32

/** Request of the driver, its descriptors, and when the disk executes a request. */
interface Step {
  readonly type: number
  readonly sector: number
  readonly sectors: number
  /** Lengths of the first descriptors of header and data; one more descriptor has the rest. */
  readonly cuts: readonly number[]
  readonly layout: Layout
  readonly seed: number
  readonly releases: readonly number[]
}

const steps = fc.array(
  fc.record<Step>({
    type: fc.constantFrom(BlkType.IN, BlkType.OUT, BlkType.OUT, BlkType.FLUSH, BlkType.WRITE_ZEROES, 77),
    sector: fc.oneof({ arbitrary: fc.nat(SECTORS - 1), weight: 9 }, fc.nat(2 * SECTORS)),
    sectors: fc.integer({ min: 1, max: 4 }),
    cuts: fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 4 }),
    layout: fc.constantFrom<Layout>('direct', 'indirect'),
    seed: fc.nat(255),
    releases: fc.array(fc.nat(7), { maxLength: 3 }),
  }),
  { maxLength: 40 },
)

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

for (const [name, extra] of Object.entries({
  split: 0n,
  'split, event indices': featureSet(Feature.EVENT_IDX),
  packed: featureSet(Feature.RING_PACKED),
  'packed, in order': featureSet(Feature.RING_PACKED, Feature.IN_ORDER, Feature.EVENT_IDX),
})) {
  test(`random requests and completions change the disk as they change a model: ${name}`, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (list) => {
        const bytes = pattern(SECTORS * 512, 5)
        const model = bytes.slice()
        const disk = new HeldDisk(bytes)
        const device = new BlockDevice(disk)
        const features = device.features | extra | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
        const rig = activateDevice(device, { features, memorySize: 1 << 20, queueSize: 64 })
        const checks: (() => void)[] = []
        // The model executes a request when the disk does, because this order decides the contents.
        const effects = new Map<number, () => void>()
        let order = 0
        const submitted: number[] = []
        const release = (choice: number) => {
          if (disk.held.length === 0) return
          const index = choice % disk.held.length
          effects.get(submitted.splice(index, 1)[0])?.()
          disk.release(index)
        }
        for (const step of list) {
          if (rig.rigs[0].driver.free < 12) while (disk.held.length > 0) release(0)
          await Promise.resolve()
          const { type, sector, sectors, seed } = step
          const start = sector * 512
          const length = sectors * 512
          const inside = sector + sectors <= SECTORS
          const data = type === BlkType.OUT ? pattern(length, seed) : new Uint8Array(0)
          const segments = type === BlkType.WRITE_ZEROES ? segment(sector, sectors, seed & 1) : new Uint8Array(0)
          const readable = cut(join([header(type, sector), data, segments]), step.cuts)
          const room = type === BlkType.IN ? length + 1 : 1
          const writable = cut(new Uint8Array(room), step.cuts).map((part) => part.length)
          const id = order++
          let seen: Uint8Array | undefined
          effects.set(id, () => {
            if (type === BlkType.IN) seen = model.slice(start, start + length)
            else if (type === BlkType.OUT) model.set(data, start)
            else if (type === BlkType.WRITE_ZEROES) model.fill(0, start, start + length)
          })
          const heldBefore = disk.held.length
          const request = rig.submit(0, readable, writable, step.layout)
          if (disk.held.length > heldBefore) submitted.push(id)
          checks.push(() => {
            const reply = request.reply as Reply
            assert.ok(reply, 'every request is answered')
            const needsSectors = type === BlkType.IN || type === BlkType.OUT || type === BlkType.WRITE_ZEROES
            const expected = type === 77 ? BlkStatus.UNSUPP : needsSectors && !inside ? BlkStatus.IOERR : BlkStatus.OK
            assert.equal(status(reply), expected)
            if (type !== BlkType.IN || expected !== BlkStatus.OK) return
            assert.equal(reply.written, length + 1)
            assert.deepEqual(join(reply.parts).subarray(0, length), seen)
          })
          for (const choice of step.releases) release(choice)
        }
        while (disk.held.length > 0) release(0)
        await Promise.resolve()
        for (const check of checks) check()
        assert.deepEqual(bytes, model)
        assert.equal(rig.rigs[0].queue.counters.malformed, 0)
        assert.deepEqual(rig.failures, [])
      }),
      { numRuns: 60 },
    )
  })
}

test('random bytes in random chains never break the device', () => {
  const chain = fc.record({
    readable: fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }),
    // Defined types, to pass the first check.
    type: fc.option(fc.constantFrom(0, 1, 4, 8, 10, 11, 13, 14)),
    writable: fc.array(fc.nat(1100), { maxLength: 4 }),
  })
  fc.assert(
    fc.property(fc.array(chain, { maxLength: 30 }), (chains) => {
      const disk = new HeldDisk(new Uint8Array(SECTORS * 512))
      const device = new BlockDevice(disk)
      const rig = activateDevice(device, { memorySize: 1 << 20 })
      for (const { readable, type, writable } of chains) {
        const start = type === null ? [] : [Uint8Array.of(type, 0, 0, 0)]
        const length = writable.reduce((sum, part) => sum + part, 0)
        const request = rig.submit(0, [...start, ...readable], writable)
        while (disk.held.length > 0) disk.release()
        // Late completions are published in a microtask, for which this test does not wait.
        device.notify(0)
        const reply = request.reply as Reply
        assert.ok(reply)
        assert.ok(reply.written <= length)
        if (length > 0) assert.ok(join(reply.parts)[length - 1] <= BlkStatus.UNSUPP)
      }
      const last = rig.submit(0, [header(BlkType.GET_ID)], [20, 1])
      assert.equal(status(last.reply), BlkStatus.OK)
      assert.equal(rig.rigs[0].queue.position.inFlight, 0)
      assert.deepEqual(rig.failures, [])
    }),
    { numRuns: 200 },
  )
})
