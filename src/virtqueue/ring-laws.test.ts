import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PairOptions } from './testing/bare-pair.ts'
import { type Shape, SleepyPair } from './testing/sleepy-pair.ts'

const lengths = fc.array(fc.oneof(fc.constant(0), fc.nat(70)), { maxLength: 4 })
const shape: fc.Arbitrary<Shape> = fc.record({
  readable: lengths,
  writable: lengths,
  layout: fc.constantFrom('direct', 'indirect', 'mixed'),
  limit: fc.oneof(fc.constant(0), fc.constant(1000), fc.nat(100)),
})

/** Mostly small rings, since they fill and wrap soon. Sizes of split rings are powers of two. */
const options: fc.Arbitrary<PairOptions> = fc
  .record({
    packed: fc.boolean(),
    size: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 1, max: 9 }) },
      { weight: 2, arbitrary: fc.integer({ min: 1, max: 300 }) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 32768 }) },
    ),
    eventIdx: fc.boolean(),
    inOrder: fc.boolean(),
    indirect: fc.boolean(),
  })
  .map((record) => (record.packed ? record : { ...record, size: 2 ** Math.floor(Math.log2(record.size)) }))

/** One step of driver or device, as data, so that counterexamples are readable. */
type Step =
  | { readonly who: 'kick' | 'device' | 'publish' | 'driver' | 'both' }
  | { readonly who: 'add'; readonly shape: Shape }
  | { readonly who: 'complete'; readonly which: number }

const only = (who: 'kick' | 'device' | 'publish' | 'driver' | 'both') => fc.constant<Step>({ who })
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: shape.map((one): Step => ({ who: 'add', shape: one })) },
    { weight: 3, arbitrary: only('kick') },
    { weight: 6, arbitrary: only('device') },
    { weight: 3, arbitrary: fc.nat(20).map((which): Step => ({ who: 'complete', which })) },
    { weight: 3, arbitrary: only('publish') },
    { weight: 6, arbitrary: only('driver') },
    { weight: 1, arbitrary: only('both') },
  ),
  { maxLength: 300, size: 'max' },
)

function take(pair: SleepyPair, step: Step): void {
  if (step.who === 'add') pair.add(step.shape)
  else if (step.who === 'kick') pair.kick()
  else if (step.who === 'device') pair.stepDevice()
  else if (step.who === 'complete') pair.complete(step.which)
  else if (step.who === 'publish') pair.publish()
  else if (step.who === 'driver') pair.stepDriver()
  else pair.runUntilIdle()
}

test('every request is answered once with the right bytes, for any race of driver and device  @virtio 2.7.13 2.8.21', () => {
  fc.assert(
    fc.property(options, steps, (setup, taken) => {
      const pair = new SleepyPair(setup)
      for (const step of taken) take(pair, step)
      pair.runUntilIdle()
      assert.deepEqual(pair.breaks, [])
      assert.equal(pair.isIdle, true, 'driver or device sleeps while there is work: a wake-up was lost')
      const { popped, pushed, malformed, invalidPushes } = pair.queue.counters
      assert.deepEqual({ popped, malformed, invalidPushes }, { popped: pushed, malformed: 0, invalidPushes: 0 })
    }),
    { numRuns: 300 },
  )
})

test('with EVENT_IDX driver and device are woken at most once for each sleep  @virtio 2.7.7.2 2.7.10.2 2.8.10', () => {
  fc.assert(
    fc.property(options, steps, (setup, taken) => {
      const pair = new SleepyPair({ ...setup, eventIdx: true })
      // Notifications are enabled initially; an event index is set at the first sleep.
      pair.runUntilIdle()
      for (const step of taken) take(pair, step)
      pair.runUntilIdle()
      assert.ok(pair.interrupts <= pair.driverSleeps, `${pair.interrupts} interrupts, ${pair.driverSleeps} sleeps`)
      assert.ok(pair.notifications <= pair.deviceSleeps, `${pair.notifications} notifications`)
    }),
    { numRuns: 200 },
  )
})
