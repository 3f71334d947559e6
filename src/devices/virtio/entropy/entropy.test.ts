import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RandomSource } from '../../../services/random-source.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice, type DeviceRig } from '../../../virtio/testing/device-rig.ts'
import { EntropyDevice, MAX_BYTES } from './entropy.ts'

/** Source of the bytes 1, 2, 3 ... 255, 0, 1 ..., which show that each is delivered once and in order. */
function countingSource(): RandomSource & { given: number } {
  return {
    given: 0,
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) bytes[i] = ++this.given
    },
  }
}

function counting(from: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => from + i + 1)
}

const RINGS = [
  ['split', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)],
  ['split, event index', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.EVENT_IDX)],
  ['packed', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.RING_PACKED)],
  ['packed, in order', featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.RING_PACKED, Feature.IN_ORDER)],
] as const

test('an entropy device has one queue, no features and no configuration space  @virtio 5.4', () => {
  const device = new EntropyDevice(countingSource())
  assert.equal(device.id, DeviceId.ENTROPY)
  assert.equal(device.queueSizes.length, 1)
  assert.equal(device.features, 0n)
  assert.equal(device.config.size, 0)
})

for (const [ring, features] of RINGS) {
  test(`every buffer of a request is filled, also after the ring wraps (${ring})  @virtio 5.4.6`, () => {
    const rig = activateDevice(new EntropyDevice(countingSource()), { features, queueSize: 8 })
    let given = 0
    for (let i = 0; i < 200; i++) {
      const reply = rig.send(0, [], [1, i % 7, 32])
      assert.equal(reply.written, 33 + (i % 7))
      assert.deepEqual(reply.bytes, counting(given, reply.written))
      given += reply.written
    }
    assert.equal(rig.rigs[0].pending, 0)
  })

  test(`buffers of any layout are filled, with each byte once (${ring})  @virtio 5.4.6.2`, () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            readable: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 3 }),
            writable: fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 4 }),
          }),
          { maxLength: 20 },
        ),
        (requests) => {
          const source = countingSource()
          const rig = activateDevice(new EntropyDevice(source), { features, memorySize: 1 << 20 })
          let asked = 0
          for (const { readable, writable } of requests) {
            if (readable.length + writable.length === 0) continue
            const room = writable.reduce((sum, length) => sum + length, 0)
            const reply = rig.send(
              0,
              readable.map((length) => new Uint8Array(length)),
              writable,
            )
            assert.equal(reply.written, room)
            assert.deepEqual(reply.bytes, counting(asked, room))
            asked += room
          }
          assert.equal(source.given, asked)
          assert.deepEqual(rig.failures, [])
        },
      ),
      { numRuns: 60 },
    )
  })
}

test('a huge request receives a limited number of bytes, with the used length  @virtio 5.4.6.2', () => {
  const source = countingSource()
  const rig = activateDevice(new EntropyDevice(source))
  const reply = rig.send(0, [], [100, 4 << 20])
  assert.equal(reply.written, MAX_BYTES)
  assert.equal(source.given, MAX_BYTES)
  assert.deepEqual(reply.bytes, counting(0, MAX_BYTES))
  assert.ok(reply.parts[1].subarray(MAX_BYTES - 100).every((byte) => byte === 0))
})

test('a request without a writable byte is returned with length 0, and the next one is served', () => {
  const device = new EntropyDevice(countingSource())
  const rig = activateDevice(device)
  assert.equal(rig.send(0, [[1, 2, 3]]).written, 0)
  assert.equal(rig.send(0, [], [0]).written, 0)
  assert.equal(rig.send(0, [], [4]).written, 4)
  assert.deepEqual(device.inspect(), { bytes: 4, empty: 2 })
})

test('when a request is returned, the bytes are in its buffers in guest memory', () => {
  const rig: DeviceRig = activateDevice(new EntropyDevice(countingSource()))
  const reply = rig.send(0, [], [3, 2])
  assert.deepEqual([...reply.parts[0]], [1, 2, 3])
  assert.deepEqual([...reply.parts[1]], [4, 5])
})

test('after a reset or without its queue notifications have no effect; the next driver is served', async () => {
  const device = new EntropyDevice(countingSource())
  const first = activateDevice(device)
  first.send(0, [], [4])
  await first.reset()
  first.rigs[0].add([], [4])
  first.kick(0)
  assert.equal(first.rigs[0].pending, 1)

  const deaf = activateDevice(device, { disabled: [0] })
  device.notify()
  await deaf.reset()

  const next = activateDevice(device)
  assert.deepEqual([...next.send(0, [], [2]).bytes], [5, 6])
})

test('after a queue reset the new queue is served  @virtio 2.6.1', () => {
  const device = new EntropyDevice(countingSource())
  const rig = activateDevice(device)
  rig.send(0, [], [4])
  assert.equal(device.stopQueue(), undefined)
  rig.queues[0] = undefined
  device.notify()
  rig.queues[0] = rig.rigs[0].queue
  assert.equal(rig.send(0, [], [4]).written, 4)
})
