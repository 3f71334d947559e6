/**
 * Outboard: virtual devices for any virtual machine.
 *
 * This entry is the devices and all they need. It imports nothing of Node, and runs in a browser. Others:
 * `outboard/node` has machines that run guests, `outboard/linux` serves devices to other monitors, `outboard/testing` is the
 * driver's side.
 */

// Services of a device: interfaces, and the implementations that run anywhere
export { MemoryDisk, type MemoryDiskOptions } from './backends/disk/memory-disk.ts'
export { createNetworkLink, type NetworkLinkOptions } from './backends/net/network-link.ts'
// Engines and transports of your own
export { AddressBus, type AddressBusOptions, type AddressRange, type BusStatistics } from './bus/address-bus.ts'
export type { BusDevice } from './bus/bus-device.ts'
export { BusError } from './bus/bus-error.ts'
export { type InterruptLine, SharedLine } from './bus/interrupt-line.ts'
// Devices
export {
  type BlockCounters,
  BlockDevice,
  type BlockDeviceOptions,
  type LogicalBlockSize,
} from './devices/virtio/block/block.ts'
export { BlkFeature } from './devices/virtio/block/protocol.ts'
export { ConsoleDevice } from './devices/virtio/console/console.ts'
export type { ConsoleSize } from './devices/virtio/console/control.ts'
export type { ConsolePortHost, ConsolePortOptions } from './devices/virtio/console/port.ts'
export { ConsoleFeature } from './devices/virtio/console/protocol.ts'
export { EntropyDevice } from './devices/virtio/entropy/entropy.ts'
export type { CapabilitySet, ContextHost, RenderContext, Renderer } from './devices/virtio/gpu/contexts/renderer.ts'
export { DisplayFanout } from './devices/virtio/gpu/display-fanout.ts'
export type { Monitor } from './devices/virtio/gpu/edid/edid.ts'
export { GpuDevice, type GpuInspection, type GpuOptions } from './devices/virtio/gpu/gpu.ts'
export { GpuFeature } from './devices/virtio/gpu/protocol.ts'
export { GpuHeap, type HeapInspection } from './devices/virtio/gpu/resources/heap.ts'
// Displays, buffers and renderers of a GPU
export type { BlobRequest } from './devices/virtio/gpu/resources/host-blob.ts'
export type { InputDescription } from './devices/virtio/input/description.ts'
export type { InputEvent } from './devices/virtio/input/event-backlog.ts'
export * as eventCodes from './devices/virtio/input/event-codes.ts'
export { InputDevice, type StatusListener } from './devices/virtio/input/input.ts'
export { createKeyboard, type KeyboardOptions } from './devices/virtio/input/keyboard.ts'
export { createTablet } from './devices/virtio/input/tablet.ts'
export { type NetCounters, NetDevice, type NetDeviceOptions } from './devices/virtio/net/net.ts'
export { NetFeature } from './devices/virtio/net/protocol.ts'
export { type LineLog, limitedLog } from './log/limited-log.ts'
// Guest memory
export { GuestMemory, type WriteListener } from './memory/guest-memory.ts'
export { MemoryError } from './memory/memory-error.ts'
export { MemoryRegion, type RegionBacking, type RegionSource } from './memory/memory-region.ts'
export { ScatterList } from './memory/scatter-list.ts'
export { SpanList } from './memory/span-list.ts'
// PCI: functions of your own, and a virtio device as one
export type { BaseAddressRequest } from './pci/base-address.ts'
export { CapabilityId, type ExtendedCapability, type PciCapability } from './pci/capability.ts'
export { ConfigurationSpace, type PciIdentity } from './pci/configuration-space.ts'
export { Msi } from './pci/msi.ts'
export { MAX_MSIX_VECTORS, Msix } from './pci/msix.ts'
export type { PciBar, PciBus, PciFunction } from './pci/pci-function.ts'
export { PciRoot, type PciRootOptions } from './pci/pci-root.ts'
// Device contract: what a device of your own implements and uses
export { Pending } from './pending/pending.ts'
export { Damage } from './services/damage.ts'
export { type Disk, DiskOp, type DiskRequest } from './services/disk.ts'
export type {
  CursorPicture,
  Display,
  PreferredMode,
  PreferredModes,
  Rect,
  Surface,
  SurfacePath,
} from './services/display.ts'
export type { FramebufferLayout, PlaneLayout } from './services/framebuffer-layout.ts'
export type { HeapMemory } from './services/heap-memory.ts'
export { type NetworkPort, Offload, type PortListener } from './services/network-port.ts'
export { cryptoRandomSource, type RandomSource } from './services/random-source.ts'
export type { BufferKind, BufferSharing, NotShared, SharedBuffer, ShareRequest } from './services/shared-buffer.ts'
export { UsageError } from './services/usage-error.ts'
// Saved states: what a device of your own saves, and its encoding
export type { SavedArray, SavedState, SavedValue } from './snapshot/saved-state.ts'
export {
  bitSet,
  elements,
  flag,
  integer,
  list,
  nullable,
  record,
  type Shape,
  stateShape,
  text,
} from './snapshot/shape.ts'
export { SnapshotError } from './snapshot/snapshot-error.ts'
export { decodeState, encodeState } from './snapshot/state-codec.ts'
export type { Suspendable } from './snapshot/suspendable.ts'
export { VirtioPciFunction, type VirtioPciOptions } from './transport/virtio-pci/virtio-pci-function.ts'
export { ConfigSpace } from './virtio/config-space.ts'
export type { DriverSession, VirtioDevice } from './virtio/device.ts'
export { DeviceId } from './virtio/device-id.ts'
export type { DeviceStateInspection, QueueStateInspection } from './virtio/device-inspection.ts'
export { DeviceState, type DeviceTransport } from './virtio/device-state.ts'
export { Feature, featureNames, featureSet, hasFeature } from './virtio/feature.ts'
export { QueueArea, type QueueState } from './virtio/queue-state.ts'
export type { SharedMemoryRegion, SharedWindow } from './virtio/shared-memory.ts'
export { Status, statusNames } from './virtio/status.ts'
export type { Chain } from './virtqueue/chain.ts'
export { createDeviceQueue } from './virtqueue/create-device-queue.ts'
export type { DeviceQueue, QueueCounters, QueuePosition, QueueSetup } from './virtqueue/device-queue.ts'
export type { Reader } from './virtqueue/reader.ts'
export type { Writer } from './virtqueue/writer.ts'
