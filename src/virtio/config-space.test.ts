import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConfigSpace } from './config-space.ts'
import { Status } from './status.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

/** Reads 64 bits in halves until the generation is unchanged, as a driver does. */
function readWhole(config: ConfigSpace, between: (attempt: number) => void): bigint {
  for (let attempt = 0; ; attempt++) {
    const before = config.generation
    const low = config.read(0, 4)
    between(attempt)
    const high = config.read(4, 4)
    if (config.generation === before) return BigInt(low) | (BigInt(high) << 32n)
  }
}

test('fields are little-endian, and bytes past the end are 0  @virtio 2.5', () => {
  const config = new ConfigSpace(6)
  config.view.setUint32(0, 0xdead_beef, true)
  config.view.setUint16(4, 0x1234, true)
  assert.equal(config.read(0, 4), 0xdead_beef)
  assert.equal(config.read(0, 1), 0xef)
  assert.equal(config.read(2, 2), 0xdead)
  assert.equal(config.read(4, 4), 0x1234)
  assert.equal(config.read(6, 4), 0)
  assert.equal(config.read(0xffff_fff0, 4), 0)
})

test('the generation differs if the space changed between two reads  @virtio 4.1.4.3.1', () => {
  const config = new ConfigSpace(8)
  let reads = 0
  const value = readWhole(config, (attempt) => {
    reads++
    if (attempt === 0) config.update((view) => view.setBigUint64(0, 0x1111_2222_3333_4444n, true))
  })
  assert.equal(value, 0x1111_2222_3333_4444n)
  assert.equal(reads, 2)
})

test('256 changes between two reads do not wrap the generation to its old value  @virtio 4.1.4.3.1', () => {
  const config = new ConfigSpace(8)
  const before = config.generation
  config.read(0, 4)
  for (let i = 1; i <= 256; i++) config.update((view) => view.setUint32(0, i, true))
  config.read(4, 4)
  assert.notEqual(config.generation, before)
})

test('the generation is constant without changes and stays within 8 bits', () => {
  const config = new ConfigSpace(4)
  for (let i = 0; i < 10; i++) config.read(0, 4)
  assert.equal(config.generation, 0)
  for (let i = 0; i < 300; i++) {
    config.update((view) => view.setUint32(0, i, true))
    const before = config.generation
    config.read(0, 4)
    assert.notEqual(config.generation, before)
  }
  assert.equal(config.generation, 300 & 0xff)
})

test('a driver that compares generations reads a consistent value  @virtio 2.5.1', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 600 }), { maxLength: 8 }), (bursts) => {
      const config = new ConfigSpace(8)
      let current = 0n
      const value = readWhole(config, (attempt) => {
        for (let i = bursts[attempt] ?? 0; i > 0; i--) {
          current += 0x1_0000_0001n
          config.update((view) => view.setBigUint64(0, current, true))
        }
      })
      assert.equal(value, current)
    }),
  )
})

test('a space without `onWrite` is read-only', () => {
  const config = new ConfigSpace(4)
  config.write(0, 4, 0xffff_ffff)
  assert.equal(config.read(0, 4), 0)
})

test('the device receives writes of the driver, and a write past the end is ignored', () => {
  const written: number[][] = []
  const config = new ConfigSpace(6, (offset, width) => written.push([offset, width]))
  config.write(0, 4, 0x0403_0201)
  config.write(4, 2, 0xfff1)
  config.write(5, 2, 0xffff)
  config.write(4, 4, 0xffff_ffff)
  config.write(0xffff_ffff, 1, 1)
  assert.deepEqual(written, [
    [0, 4],
    [4, 2],
  ])
  assert.deepEqual([config.read(0, 4), config.read(4, 2)], [0x0403_0201, 0xfff1])
})

test('a write by the driver changes no generation and causes no notification', () => {
  const rig = new StateRig()
  rig.start()
  const before = rig.state.configGeneration
  rig.state.writeConfig(0, 4, 5)
  assert.equal(rig.state.readConfig(0, 4), 5)
  assert.equal(rig.state.configGeneration, before)
  assert.deepEqual(rig.notifications, [])
})

test('configuration can be read before FEATURES_OK  @virtio 2.5.2', () => {
  const rig = new StateRig()
  rig.device.config.view.setUint32(8, 77, true)
  assert.equal(rig.state.readConfig(8, 4), 77)
})

test('each change after DRIVER_OK notifies the driver  @virtio 3.2.1', () => {
  const rig = new StateRig()
  rig.start()
  for (let i = 1; i <= 3; i++) {
    rig.device.config.update((view) => view.setUint32(0, i, true))
    assert.equal(rig.notifications.length, i)
  }
})

test('a change before DRIVER_OK notifies at DRIVER_OK unless the driver read it before  @virtio 2.1.2', () => {
  for (const read of [false, true]) {
    const rig = new StateRig()
    rig.negotiate(VERSION_1)
    rig.device.config.update((view) => view.setUint32(0, 1, true))
    if (read) rig.state.readConfig(0, 4)
    assert.deepEqual(rig.notifications, [])
    rig.setStatus(Status.DRIVER_OK)
    assert.deepEqual(rig.notifications, read ? [] : ['config'])
  }
})

test('a change after a reset notifies no driver  @virtio 2.4.1', () => {
  const rig = new StateRig()
  rig.start()
  rig.state.writeStatus(0)
  rig.device.config.update((view) => view.setUint32(0, 1, true))
  assert.deepEqual(rig.notifications, ['device reset'])
})
