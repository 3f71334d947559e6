import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import type { SavedState } from '../snapshot/saved-state.ts'
import { ConfigSpace } from './config-space.ts'
import type { VirtioDevice } from './device.ts'
import { DeviceId } from './device-id.ts'
import { DeviceState } from './device-state.ts'
import { Status } from './status.ts'

/** Device that writes the negotiated features to its configuration space. */
class ProbeDevice implements VirtioDevice {
  readonly id = DeviceId.BLOCK
  readonly name = 'probe'
  readonly queueSizes = [8]
  readonly features = 3n
  readonly config = new ConfigSpace(4)

  negotiated(features: bigint): void {
    this.config.view.setUint8(0, Number(features & 0xffn))
  }
  start(): void {}
  notify(): void {}
  stopQueue(): void {}
  reset(): void {
    this.config.view.setUint8(0, 0)
  }
  suspend(): void {}
  resume(): void {}
  save(): SavedState {
    return { version: 1 }
  }
  restore(): void {}
}

function probe(): DeviceState {
  return new DeviceState(new ProbeDevice(), {
    memory: new GuestMemory([MemoryRegion.over(0, new Uint8Array(4096))]),
    queueInterrupt: () => {},
    configInterrupt: () => {},
    queueReset: () => {},
    deviceReset: () => {},
    batchEnds: queueMicrotask,
    log: () => {},
  })
}

test('negotiated features change the configuration space before DRIVER_OK, until a reset  @virtio 3.1.1', () => {
  const state = probe()
  state.acceptFeatures(0, 2)
  state.acceptFeatures(1, 1)
  assert.equal(state.readConfig(0, 1), 0)
  state.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
  assert.equal(state.readConfig(0, 1), 2)
  state.writeStatus(0)
  assert.equal(state.readConfig(0, 1), 0)
})

test('negotiated is not called with a refused set of features  @virtio 3.1.1', () => {
  const state = probe()
  state.acceptFeatures(0, 2)
  state.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
  assert.equal(state.status & Status.FEATURES_OK, 0)
  assert.equal(state.readConfig(0, 1), 0)
})
