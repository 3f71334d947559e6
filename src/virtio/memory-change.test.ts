import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryRegion } from '../memory/memory-region.ts'
import { after } from '../pending/pending.ts'
import { Feature, featureSet } from './feature.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig } from './testing/state-rig.ts'

/** Memory map with the same bytes in one new region. */
function again(rig: StateRig): MemoryRegion {
  return MemoryRegion.over(0, rig.region.u8)
}

/** Memory map with the same bytes in two regions. */
function halves(rig: StateRig): MemoryRegion[] {
  const half = rig.region.size / 2
  return [MemoryRegion.over(0, rig.region.u8.subarray(0, half)), MemoryRegion.over(half, rig.region.u8.subarray(half))]
}

for (const [name, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED, Feature.EVENT_IDX)],
] as const) {
  test(`rings that move resume at their position: ${name}`, () => {
    const rig = new StateRig()
    rig.start(features)
    for (let i = 0; i < 100; i++) {
      assert.deepEqual(rig.echo(0, [i, 1]), [i, 1])
      rig.memory.replace(i % 2 === 0 ? [again(rig)] : halves(rig))
      assert.equal(rig.state.memoryChanged(true), undefined)
    }
    assert.equal(rig.device.resets, 0)
  })

  test(`a queue whose ring is removed waits for its return and loses no request: ${name}`, () => {
    const rig = new StateRig()
    rig.start(features)
    assert.deepEqual(rig.echo(0, [1]), [1])
    rig.memory.replace([])
    rig.state.memoryChanged(true)
    rig.send(0, [2])
    assert.equal(rig.queues[0].collect(), false)
    assert.deepEqual(rig.logged, ['echo: queue 0 was notified while its ring is not in memory'])
    rig.memory.replace([again(rig)])
    rig.state.memoryChanged(false)
    assert.equal(rig.queues[0].collect(), true)
    rig.queues[0].enableInterrupts()
    assert.deepEqual(rig.echo(0, [3]), [3])
    assert.deepEqual(rig.echo(1, [4]), [4])
  })
}

test('requests in flight finish before memory is released, and none starts meanwhile', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  rig.memory.replace([again(rig)])
  let changed = false
  after(rig.state.memoryChanged(true), () => {
    changed = true
  })
  rig.send(0, [2])
  assert.equal(changed, false)
  assert.equal(rig.device.kept.length, 1)
  rig.device.answer()
  assert.equal(changed, true)
  assert.equal(rig.device.kept.length, 1, 'the second chain is popped afterwards')
  assert.equal(rig.queues[0].collect(), true)
  rig.device.answer()
})

test('adding memory, or removing it while nothing is in flight, does not stop queues', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  const more = MemoryRegion.over(1 << 21, new Uint8Array(4096))
  rig.memory.replace([rig.region, more])
  rig.state.memoryChanged(false)
  rig.memory.replace([rig.region])
  rig.state.memoryChanged(true)
  rig.send(0, [1])
  rig.memory.replace([rig.region, more])
  assert.equal(rig.state.memoryChanged(false), undefined)
  assert.equal(rig.device.starts, 1)
})

test('a device that is reset during a memory change starts in its initial state', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  rig.memory.replace([again(rig)])
  const moved = rig.state.memoryChanged(true)
  const reset = rig.state.reset()
  const ended: string[] = []
  after(moved, () => ended.push('memory'))
  after(reset, () => ended.push('reset'))
  rig.device.answer()
  assert.deepEqual(ended.sort(), ['memory', 'reset'])
  assert.equal(rig.state.status, 0)
  assert.equal(rig.state.memoryChanged(true), undefined)
  rig.start()
  rig.send(0, [2])
  rig.device.answer()
  assert.equal(rig.queues[0].collect(), true)
})

test('memory may change before DRIVER_OK', () => {
  const rig = new StateRig()
  rig.memory.replace([])
  assert.equal(rig.state.memoryChanged(true), undefined)
  rig.memory.replace([rig.region])
  rig.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
})

test('a queue reset completes even if the memory of its ring is removed meanwhile  @virtio 2.6.1', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start(featureSet(Feature.RING_RESET))
  rig.send(0, [1])
  rig.state.resetQueue(0)
  assert.equal(rig.state.queues[0].resetting, true)
  rig.memory.replace([])
  rig.state.memoryChanged(true)
  rig.device.answer()
  assert.deepEqual([rig.state.queues[0].resetting, rig.state.queues[0].enabled], [false, false])
})

test('a device that returns a promise instead of a Pending needs a reset, which completes nevertheless', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.stopQueue = (async () => {}) as unknown as typeof rig.device.stopQueue
  rig.state.writeStatus(0)
  assert.equal(rig.state.status, 0)
  assert.match(rig.logged.join(), /stopQueue failed: it must return undefined or a Pending/)
})
