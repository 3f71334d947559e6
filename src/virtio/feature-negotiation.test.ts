import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEVICE_FEATURES, Feature, featureNames, featureSet, hasFeature } from './feature.ts'
import { Status } from './status.ts'
import { EchoDevice, EchoFeature } from './testing/echo-device.ts'
import { StateRig, VERSION_1 } from './testing/state-rig.ts'

test('a device offers its own features, the ring features and VERSION_1  @virtio 6.2', () => {
  const { state } = new StateRig()
  const { INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER, RING_RESET } = Feature
  const ring = featureSet(INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED, IN_ORDER, RING_RESET)
  assert.equal(state.offered, ring | featureSet(...Object.values(EchoFeature)))
})

test('bits outside the device-specific ranges are not offered  @virtio 2.2', () => {
  const device = Object.assign(new EchoDevice(), { features: (1n << 128n) - 1n })
  const { state } = new StateRig(device)
  for (const bit of [24, Feature.ACCESS_PLATFORM, Feature.SR_IOV, Feature.NOTIFICATION_DATA, Feature.SUSPEND, 49]) {
    assert.equal(hasFeature(state.offered, bit), false, `bit ${bit}`)
  }
  for (const bit of [0, 23, 50, 127]) assert.equal(hasFeature(state.offered, bit), true, `bit ${bit}`)
  assert.equal(state.offered & DEVICE_FEATURES, DEVICE_FEATURES)
})

test('offered features are read in words of 32, and words past the last are 0  @virtio 4.1.4.3.1', () => {
  const { state } = new StateRig()
  let offered = 0n
  for (let word = 0; word < 4; word++) offered |= BigInt(state.offeredFeatures(word)) << BigInt(32 * word)
  assert.equal(offered, state.offered)
  for (const word of [4, 5, 0x7fff_ffff, 0xffff_ffff]) assert.equal(state.offeredFeatures(word), 0)
})

test('accepted features read back as they were written  @virtio 4.1.4.3.1', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 4, maxLength: 4 }), (words) => {
      const { state } = new StateRig()
      words.forEach((bits, word) => {
        state.acceptFeatures(word, 0xffff_ffff)
        state.acceptFeatures(word, bits)
      })
      for (let word = 0; word < 4; word++) assert.equal(state.acceptedFeatures(word), words[word])
    }),
  )
})

test('writes to words past the last are ignored', () => {
  const rig = new StateRig()
  for (const word of [4, 8, 0xffff_ffff]) {
    rig.state.acceptFeatures(word, 1)
    assert.equal(rig.state.acceptedFeatures(word), 0)
  }
  assert.equal(rig.negotiate(VERSION_1), true)
})

test('features written after FEATURES_OK are ignored  @virtio 3.1.1', () => {
  const rig = new StateRig()
  rig.negotiate(VERSION_1)
  rig.accept(0n)
  assert.equal(rig.state.negotiated, VERSION_1)
  rig.setStatus(Status.DRIVER_OK)
  assert.equal(rig.device.session?.features, VERSION_1)
})

test('no feature is negotiated before FEATURES_OK  @virtio 3.1.1', () => {
  const rig = new StateRig()
  rig.accept(VERSION_1)
  assert.equal(rig.state.negotiated, 0n)
  assert.deepEqual(rig.state.inspect().negotiated, [])
  rig.setStatus(Status.FEATURES_OK)
  assert.equal(rig.state.negotiated, VERSION_1)
  assert.deepEqual(rig.state.inspect().negotiated, ['VERSION_1'])
})

test('an accepted set is accepted again after a reset, and so is any valid subset  @virtio 2.2.2', () => {
  const rig = new StateRig()
  const all = rig.state.offered
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (random) => {
      // DOUBLE requires LOUD.
      const subset = (random & all & ~featureSet(EchoFeature.DOUBLE)) | VERSION_1
      for (let round = 0; round < 2; round++) {
        assert.equal(rig.negotiate(subset), true)
        rig.state.writeStatus(0)
      }
    }),
  )
})

test('a reset clears the accepted features  @virtio 2.4', () => {
  const rig = new StateRig()
  rig.start(featureSet(EchoFeature.LOUD))
  rig.state.writeStatus(0)
  assert.equal(rig.state.acceptedFeatures(0), 0)
  assert.equal(rig.negotiate(0n), false)
})

test('features have names: device-specific, device-independent, or the bit number', () => {
  assert.deepEqual(featureNames(featureSet(0, 3, 32, 100), EchoFeature), ['LOUD', 'bit 3', 'VERSION_1', 'WIDE'])
})
