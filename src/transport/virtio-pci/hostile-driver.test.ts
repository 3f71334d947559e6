import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { EchoMachine } from './testing/echo-machine.ts'

/** One access by a hostile driver. */
type Poke = (machine: EchoMachine) => void

const width = fc.constantFrom(1, 2, 4)
const word = fc.integer({ min: 0, max: 0xffff_ffff })
/** Values that are valid in some field: statuses, features, sizes, vectors, addresses in guest memory. */
const value = fc.oneof(
  fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 11, 15, 16, 64, 128, 255, 256, 0xfffe, 0xffff, 0x10000, 0xffff_ffff),
  fc.integer({ min: 1, max: 255 }).map((page) => page * 4096),
  word,
)
const field = fc.integer({ min: 0, max: 63 })
const offset = fc.oneof(
  { weight: 6, arbitrary: field },
  { weight: 1, arbitrary: fc.integer({ min: 0xff8, max: 0x1008 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0x2000, max: 0x2010 }) },
  { weight: 3, arbitrary: fc.integer({ min: 0x2ff8, max: 0x3010 }) },
  { weight: 1, arbitrary: word },
)
const bar = fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.integer({ min: 0, max: 7 }) })

function assertWord(read: number, bytes: number): void {
  assert.ok(Number.isInteger(read) && read >= 0 && read < 2 ** (8 * bytes), `${read} in ${bytes} bytes`)
}

const poke: fc.Arbitrary<Poke> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.tuple(bar, offset, width).map(([bar, offset, width]): Poke => {
      return ({ driver }) => assertWord(driver.readBar(bar, offset, width), width)
    }),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(bar, offset, width, value).map(([bar, offset, width, value]): Poke => {
      return ({ driver }) => driver.writeBar(bar, offset, width, value % 2 ** (8 * width))
    }),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.integer({ min: 0, max: 0x104 }), width).map(([offset, width]): Poke => {
      return ({ pci }) => assertWord(pci.configRead(offset, width), width)
    }),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.integer({ min: 0, max: 0x104 }), width, value).map(([offset, width, value]): Poke => {
      return ({ pci }) => pci.configWrite(offset, width, value % 2 ** (8 * width))
    }),
  },
  // Enables memory decoding and bus mastering, so that other accesses have an effect.
  { weight: 1, arbitrary: fc.constant<Poke>(({ driver }) => driver.enable()) },
  // Writes random bytes to the rings.
  {
    weight: 2,
    arbitrary: fc.tuple(fc.integer({ min: 0, max: (1 << 18) - 1 }), value).map(([at, value]): Poke => {
      return ({ region }) => {
        region.u32[at] = value
      }
    }),
  },
  { weight: 1, arbitrary: fc.constant<Poke>(({ device }) => device.answer()) },
)

for (const [name, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED)],
] as const) {
  for (const started of [false, true]) {
    test(`no write ${started ? 'after DRIVER_OK ' : ''}throws, and a reset recovers the device: ${name}  @virtio 2.4.1`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(poke, { maxLength: 120, size: 'max' }), fc.boolean(), async (pokes, slow) => {
          const memory = MemoryRegion.over(0, new Uint8Array(4096))
          const device = new EchoDevice({ slow, sharedMemory: [{ id: 0, memory }] })
          const machine = new EchoMachine({ device, messages: true })
          if (started) await machine.driver.start(features)
          for (const poke of pokes) poke(machine)
          device.answer()
          machine.driver.enable()
          const reset = machine.driver.reset()
          device.answer()
          await reset
          assert.equal(machine.driver.get('device_status'), 0)
          await machine.driver.start(features)
          for (let i = 0; i < 3; i++) {
            for (const queue of [0, 1]) {
              const at = machine.send(queue, [i, queue])
              device.answer()
              assert.equal(machine.driver.queues[queue].collect(), true)
              assert.deepEqual([...machine.region.u8.slice(at, at + 2)], [i, queue])
              machine.driver.queues[queue].enableInterrupts()
            }
          }
          assert.equal(machine.driver.get('device_status'), 15)
        }),
        { numRuns: 150 },
      )
    })
  }
}
