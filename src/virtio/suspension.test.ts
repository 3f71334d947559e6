import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SavedState, SavedValue } from '../snapshot/saved-state.ts'
import { DeviceState } from './device-state.ts'
import { Feature, featureSet } from './feature.ts'
import { Status } from './status.ts'
import { EchoDevice } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

test('a suspended device answers what is in flight, and serves no more until it resumes', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(0, [1])
  const wait = rig.state.suspend()
  assert.ok(wait)
  rig.send(0, [2])
  assert.equal(rig.device.suspensions, 0)
  let stopped = false
  wait.onFinish(() => {
    stopped = true
  })
  rig.device.answer()
  assert.ok(stopped)
  assert.equal(rig.device.suspensions, 1)
  assert.equal(rig.queues[0].collect(), true)
  assert.equal(rig.device.kept.length, 0)
  rig.state.resume()
  assert.equal(rig.device.suspensions, 0)
  assert.equal(rig.device.kept.length, 1)
})

test('a device can be suspended before any driver, and reset while it is suspended', () => {
  const rig = new StateRig()
  assert.equal(rig.state.suspend(), undefined)
  rig.start()
  assert.equal(rig.echo(0, [1]), undefined)
  rig.state.writeStatus(0)
  rig.start()
  assert.equal(rig.echo(0, [2]), undefined)
  rig.state.resume()
  assert.equal(rig.queues[0].collect(), true)
})

test('only a suspended device can be saved or restored', () => {
  const rig = new StateRig()
  rig.start()
  const refusal = { name: 'SnapshotError', message: 'echo is not suspended' }
  assert.throws(() => rig.state.save(), refusal)
  rig.state.suspend()
  const state = rig.state.save()
  rig.state.resume()
  assert.throws(() => rig.state.restore(state), refusal)
})

test('a device with chains in flight cannot be saved', () => {
  const rig = new StateRig(new EchoDevice({ slow: true }))
  rig.start()
  rig.send(1, [1])
  rig.state.suspend()
  assert.throws(() => rig.state.save(), { name: 'SnapshotError', message: 'queue 1 has 1 chains in flight' })
})

/** Returns the state of another device in the same memory, suspended. */
function destination(rig: StateRig, device = new EchoDevice(), notify: (what: string) => void = () => {}): DeviceState {
  const state = new DeviceState(device, {
    memory: rig.memory,
    queueInterrupt: (queue) => notify(`queue ${queue}`),
    configInterrupt: () => notify('config'),
    queueReset: () => {},
    deviceReset: () => {},
    batchEnds: queueMicrotask,
    log: () => {},
  })
  state.suspend()
  return state
}

for (const [ring, features] of Object.entries({ split: 0n, packed: featureSet(Feature.RING_PACKED) })) {
  test(`a restored device continues ${ring} rings where another one stopped, after they wrapped`, () => {
    const rig = new StateRig(new EchoDevice({ queueSizes: [4, 4] }))
    rig.start(features)
    for (let i = 0; i < 7; i++) assert.deepEqual(rig.echo(0, [i]), [i])
    rig.state.suspend()
    const at = rig.send(0, [9])
    const notified: string[] = []
    const state = destination(rig, new EchoDevice({ queueSizes: [4, 4] }), (what) => notified.push(what))
    state.restore(rig.state.save())
    assert.equal(state.inspect().queues[0].available, rig.state.inspect().queues[0].available)
    assert.equal(rig.queues[0].collect(), false)
    state.resume()
    assert.equal(rig.queues[0].collect(), true)
    assert.equal(rig.region.u8[at], 9)
    assert.deepEqual(notified, ['queue 0'])
  })
}

test('a restored device interrupts the driver if its configuration differs, and shows another generation', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.config.update((view) => view.setUint8(0, 1))
  rig.state.readConfig(0, 1)
  rig.state.suspend()
  const notified: string[] = []
  const device = new EchoDevice()
  device.restore = () => {}
  const state = destination(rig, device, (what) => notified.push(what))
  state.restore(rig.state.save())
  assert.deepEqual(notified, [])
  state.resume()
  assert.deepEqual(notified, ['config'])
  assert.equal(state.readConfig(0, 1), 0)
  assert.equal(state.configGeneration, 2)
})

test('a failure is restored, and a reset ends it', () => {
  const rig = new StateRig()
  rig.start()
  rig.device.session?.needsReset('it broke')
  rig.state.suspend()
  const state = destination(rig)
  state.restore(rig.state.save())
  state.resume()
  assert.equal(state.status, 15 | Status.DEVICE_NEEDS_RESET)
  state.writeStatus(0)
  assert.equal(state.status, 0)
})

test('a device that was restored before DRIVER_OK goes on with its initialisation', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  rig.setUpQueue(0)
  rig.state.suspend()
  const device = new EchoDevice()
  const state = destination(rig, device)
  state.restore(rig.state.save())
  state.resume()
  assert.equal(device.starts, 0)
  rig.send(0, [5])
  state.writeStatus(state.status | Status.DRIVER_OK)
  assert.equal(device.starts, 1)
  assert.equal(rig.queues[0].collect(), true)
})

const lifecycle = { features: VERSION_1, failure: null, device: { version: 1, config: new Uint8Array(12) } }
const refused: readonly (readonly [message: string, change: { readonly [name: string]: SavedValue }])[] = [
  ['echo: status 31 has unknown bits', { status: 31 }],
  ['echo: status 4 has DRIVER_OK without FEATURES_OK', { status: 4 }],
  ['echo: status 15 hides a failure', { lifecycle: { ...lifecycle, failure: 'it broke' } }],
  ['echo: the negotiated features are not those that the driver accepted', { accepted: 0n }],
  [
    'echo: not offered: bit 50',
    { accepted: VERSION_1 | (1n << 50n), lifecycle: { ...lifecycle, features: VERSION_1 | (1n << 50n) } },
  ],
  ['echo.queues is a list of 1, not a list of 2', { queues: [null] }],
  [
    'echo.config.bytes is Uint8Array of 4 elements, not Uint8Array of 12 elements',
    { config: { bytes: new Uint8Array(4), generation: 0, changed: false } },
  ],
  ['echo has version 2, not 1', { lifecycle: { ...lifecycle, device: { version: 2 } } }],
]
for (const [message, change] of refused) {
  test(`a saved state is refused as a whole: ${message}`, () => {
    const rig = new StateRig()
    rig.start()
    rig.state.suspend()
    const state = destination(rig)
    const changed = { ...rig.state.save(), ...change } as SavedState
    assert.throws(() => state.restore(changed), { name: 'SnapshotError', message })
    assert.equal(state.status, 0)
    assert.deepEqual(
      state.queues.map(({ enabled, live }) => [enabled, live]),
      [
        [false, undefined],
        [false, undefined],
      ],
    )
  })
}

test('an exception of a device that restores is a refusal, which names the device', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.suspend()
  const device = new EchoDevice()
  device.restore = () => {
    throw new TypeError('it has a bug')
  }
  const state = destination(rig, device)
  assert.throws(() => state.restore(rig.state.save()), { name: 'SnapshotError', message: 'echo: it has a bug' })
  assert.deepEqual([state.status, device.starts, device.resets], [0, 0, 2])
})
