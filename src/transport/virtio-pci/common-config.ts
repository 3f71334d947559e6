import { integer, record, type Shaped } from '../../snapshot/shape.ts'
import type { DeviceState } from '../../virtio/device-state.ts'
import { Feature, hasFeature } from '../../virtio/feature.ts'
import { QueueArea } from '../../virtio/queue-state.ts'
import { type Interrupts, VIRTIO_MSI_NO_VECTOR } from './interrupts.ts'
import { type Register, RegisterBlock } from './register-block.ts'

/** Length of the structure, in bytes. */
export const COMMON_CFG_LENGTH = 64

/**
 * Common configuration structure, through which the driver accesses the device's state. @virtio 4.1.4.3
 *
 * `queue_size` and the queue fields after it apply to the queue selected by `queue_select`. If that does not exist,
 * they read as 0 (`queue_msix_vector` as NO_VECTOR) and writes are ignored.
 */
export class CommonConfig extends RegisterBlock {
  readonly #selection: Selection

  constructor(state: DeviceState, interrupts: Interrupts) {
    const selection = { deviceFeatures: 0, driverFeatures: 0, queue: 0 }
    super(declare(state, interrupts, selection))
    this.#selection = selection
  }

  /** Resets the selected feature words and queue. */
  reset(): void {
    this.#selection.deviceFeatures = 0
    this.#selection.driverFeatures = 0
    this.#selection.queue = 0
  }

  save(): SavedSelection {
    return { ...this.#selection }
  }

  restore(selection: SavedSelection): void {
    Object.assign(this.#selection, selection)
  }
}

/** Shape of the saved selection: feature words and queue that the other fields apply to. */
export const SELECTION = record({
  deviceFeatures: integer(0, 0xffff_ffff),
  driverFeatures: integer(0, 0xffff_ffff),
  queue: integer(0, 0xffff),
})
type SavedSelection = Shaped<typeof SELECTION>
type Selection = { -readonly [Field in keyof SavedSelection]: SavedSelection[Field] }

function declare(state: DeviceState, interrupts: Interrupts, selection: Selection): Register[] {
  const selected = () => state.queues[selection.queue]
  const configurable = () => state.configurableQueue(selection.queue)
  const packed = () => hasFeature(state.negotiated, Feature.RING_PACKED)

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
      read: () => selection.deviceFeatures,
      write(value) {
        selection.deviceFeatures = value
      },
    },
    { name: 'device_feature', width: 4, read: () => state.offeredFeatures(selection.deviceFeatures) },
    {
      name: 'driver_feature_select',
      width: 4,
      read: () => selection.driverFeatures,
      write(value) {
        selection.driverFeatures = value
      },
    },
    {
      name: 'driver_feature',
      width: 4,
      read: () => state.acceptedFeatures(selection.driverFeatures),
      write: (value) => state.acceptFeatures(selection.driverFeatures, value),
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
      read: () => selection.queue,
      write(value) {
        selection.queue = value
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
      read: () => interrupts.queueVectors[selection.queue] ?? VIRTIO_MSI_NO_VECTOR,
      write(value) {
        if (selected() && !state.resetting) interrupts.queueVectors[selection.queue] = interrupts.mapped(value)
      },
    },
    {
      name: 'queue_enable',
      width: 2,
      read: () => Number(selected()?.enabled ?? false),
      // Other values are ignored: a driver must not write 0, and only a reset disables a queue. @virtio 4.1.4.3.2
      write(value) {
        if (value === 1) state.enableQueue(selection.queue)
      },
    },
    { name: 'queue_notify_off', width: 2, read: () => (selected() ? selection.queue : 0) },
    address('queue_desc', QueueArea.DESCRIPTOR),
    address('queue_desc (high)', QueueArea.DESCRIPTOR + 1),
    address('queue_driver', QueueArea.DRIVER),
    address('queue_driver (high)', QueueArea.DRIVER + 1),
    address('queue_device', QueueArea.DEVICE),
    address('queue_device (high)', QueueArea.DEVICE + 1),
    // NOTIF_CONFIG_DATA is not offered, so drivers notify with the queue index, which this field also returns.
    { name: 'queue_notif_config_data', width: 2, read: () => (selected() ? selection.queue : 0) },
    {
      name: 'queue_reset',
      width: 2,
      read: () => Number(selected()?.resetting ?? false),
      write(value) {
        if (value === 1) state.resetQueue(selection.queue)
      },
    },
    // ADMIN_VQ is not offered.
    { name: 'admin_queue_index', width: 2, read: () => 0 },
    { name: 'admin_queue_num', width: 2, read: () => 0 },
  ]
}
