import type { DeviceState } from '../../virtio/device-state.ts'
import { Feature, hasFeature } from '../../virtio/feature.ts'
import { QueueArea } from '../../virtio/queue-state.ts'
import { type Interrupts, VIRTIO_MSI_NO_VECTOR } from './interrupts.ts'
import { type Register, RegisterBlock } from './register-block.ts'

/** Bytes of the structure. */
export const COMMON_CFG_LENGTH = 64

/**
 * The common configuration structure: what the driver sees of the device's state. @virtio 4.1.4.3
 *
 * Fields from `queue_size` on are of the queue that `queue_select` names; where there is none they read as 0 (no
 * vector), and writes are ignored.
 */
export class CommonConfig extends RegisterBlock {
  constructor(state: DeviceState, interrupts: Interrupts) {
    super(declare(state, interrupts))
  }
}

function declare(state: DeviceState, interrupts: Interrupts): Register[] {
  let deviceFeatureSelect = 0
  let driverFeatureSelect = 0
  let queueSelect = 0
  const selected = () => state.queues[queueSelect]
  const configurable = () => state.configurableQueue(queueSelect)
  const packed = () => hasFeature(state.accepted, Feature.RING_PACKED)

  const address = (name: string, word: number): Register => ({
    name,
    width: 4,
    read: () => selected()?.addressWords[word] ?? 0,
    write(value) {
      configurable()?.addressWords.set([value], word)
    },
  })

  return [
    {
      name: 'device_feature_select',
      width: 4,
      read: () => deviceFeatureSelect,
      write(value) {
        deviceFeatureSelect = value
      },
    },
    { name: 'device_feature', width: 4, read: () => state.offeredFeatures(deviceFeatureSelect) },
    {
      name: 'driver_feature_select',
      width: 4,
      read: () => driverFeatureSelect,
      write(value) {
        driverFeatureSelect = value
      },
    },
    {
      name: 'driver_feature',
      width: 4,
      read: () => state.acceptedFeatures(driverFeatureSelect),
      write: (value) => state.acceptFeatures(driverFeatureSelect, value),
    },
    {
      name: 'config_msix_vector',
      width: 2,
      read: () => interrupts.configVector,
      write(value) {
        if (!state.resetting) interrupts.configVector = interrupts.mapped(value)
      },
    },
    { name: 'num_queues', width: 2, read: () => state.queues.length },
    { name: 'device_status', width: 1, read: () => state.status, write: (value) => state.writeStatus(value) },
    { name: 'config_generation', width: 1, read: () => state.configGeneration },
    {
      name: 'queue_select',
      width: 2,
      read: () => queueSelect,
      write(value) {
        queueSelect = value
      },
    },
    {
      name: 'queue_size',
      width: 2,
      read: () => selected()?.size ?? 0,
      write: (value) => configurable()?.setSize(value, packed()),
    },
    {
      name: 'queue_msix_vector',
      width: 2,
      read: () => interrupts.queueVectors[queueSelect] ?? VIRTIO_MSI_NO_VECTOR,
      write(value) {
        if (selected() && !state.resetting) interrupts.queueVectors[queueSelect] = interrupts.mapped(value)
      },
    },
    {
      name: 'queue_enable',
      width: 2,
      read: () => Number(selected()?.enabled ?? false),
      // A driver must not write 0: only a reset disables a queue. @virtio 4.1.4.3.2
      write(value) {
        if (value === 1) state.enableQueue(queueSelect)
      },
    },
    { name: 'queue_notify_off', width: 2, read: () => (selected() ? queueSelect : 0) },
    address('queue_desc', QueueArea.DESCRIPTOR),
    address('queue_desc (high)', QueueArea.DESCRIPTOR + 1),
    address('queue_driver', QueueArea.DRIVER),
    address('queue_driver (high)', QueueArea.DRIVER + 1),
    address('queue_device', QueueArea.DEVICE),
    address('queue_device (high)', QueueArea.DEVICE + 1),
    // NOTIF_CONFIG_DATA is not offered: drivers name queues by their index, and this says the same.
    { name: 'queue_notif_config_data', width: 2, read: () => (selected() ? queueSelect : 0) },
    {
      name: 'queue_reset',
      width: 2,
      read: () => Number(selected()?.resetting ?? false),
      write(value) {
        if (value === 1) state.resetQueue(queueSelect)
      },
    },
    // ADMIN_VQ is not offered.
    { name: 'admin_queue_index', width: 2, read: () => 0 },
    { name: 'admin_queue_num', width: 2, read: () => 0 },
  ]
}
