/**
 * Outboard: virtual devices that clamp onto any virtual machine.
 *
 * Nothing here needs Node: it runs in a browser as well. The driver's side, for tests, is `outboard/testing`.
 */
export {
  type BlockCounters,
  BlockDevice,
  type BlockDeviceOptions,
  type LogicalBlockSize,
} from './devices/virtio/block/block.ts'
export { MemoryDisk, type MemoryDiskOptions } from './devices/virtio/block/memory-disk.ts'
export { ConsoleDevice } from './devices/virtio/console/console.ts'
export type { ConsoleSize } from './devices/virtio/console/control.ts'
export type { ConsolePortHost, ConsolePortOptions } from './devices/virtio/console/port.ts'
export { EntropyDevice } from './devices/virtio/entropy/entropy.ts'
export type {
  BlobRequest,
  CapabilitySet,
  ContextHost,
  RenderContext,
  Renderer,
} from './devices/virtio/gpu/contexts/renderer.ts'
export type { Monitor } from './devices/virtio/gpu/edid/edid.ts'
export { GpuDevice, type GpuInspection, type GpuOptions } from './devices/virtio/gpu/gpu.ts'
export { GpuHeap, type HeapInspection } from './devices/virtio/gpu/resources/heap.ts'
export type { InputDescription } from './devices/virtio/input/description.ts'
export type { InputEvent } from './devices/virtio/input/event-backlog.ts'
export { InputDevice, type StatusListener } from './devices/virtio/input/input.ts'
export { createKeyboard, type KeyboardOptions } from './devices/virtio/input/keyboard.ts'
export { createTablet } from './devices/virtio/input/tablet.ts'
export { type NetCounters, NetDevice, type NetDeviceOptions } from './devices/virtio/net/net.ts'
export { createNetworkLink, type NetworkLinkOptions } from './devices/virtio/net/network-link.ts'
export { type LineLog, limitedLog } from './log/limited-log.ts'
export { GuestMemory, type WriteListener } from './memory/guest-memory.ts'
export { MemoryError } from './memory/memory-error.ts'
export { MemoryRegion, type RegionBacking, type RegionSource } from './memory/memory-region.ts'
export { ScatterList } from './memory/scatter-list.ts'
export { SpanList } from './memory/span-list.ts'
export type { BaseAddressRequest } from './pci/base-address.ts'
export { CapabilityId, type PciCapability } from './pci/capability.ts'
export { ConfigurationSpace, type PciIdentity } from './pci/configuration-space.ts'
export { MAX_MSIX_VECTORS, Msix } from './pci/msix.ts'
export type { PciBar, PciBus, PciFunction } from './pci/pci-function.ts'
export { Pending } from './pending/pending.ts'
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
export type { HeapMemory } from './services/heap-memory.ts'
export { type NetworkPort, Offload, type PortListener } from './services/network-port.ts'
export type { Picture, PicturePlane } from './services/picture.ts'
export { cryptoRandomSource, type RandomSource } from './services/random-source.ts'
export type {
  BufferKind,
  BufferSharing,
  NotShared,
  SharedBuffer,
  ShareRequest,
} from './services/shared-buffer.ts'
export { VirtioPciFunction, type VirtioPciOptions } from './transport/virtio-pci/virtio-pci-function.ts'
export { ConfigSpace } from './virtio/config-space.ts'
export type { DriverSession, SharedMemoryRegion, VirtioDevice } from './virtio/device.ts'
export { DeviceId } from './virtio/device-id.ts'
export type { DeviceStateInspection, QueueStateInspection } from './virtio/device-inspection.ts'
export { DeviceState, type DeviceTransport } from './virtio/device-state.ts'
export { Feature, featureNames, featureSet, hasFeature } from './virtio/feature.ts'
export { QueueArea, type QueueState } from './virtio/queue-state.ts'
export { Status, statusNames } from './virtio/status.ts'
export type { Chain } from './virtqueue/chain.ts'
export { createDeviceQueue } from './virtqueue/create-device-queue.ts'
export type { DeviceQueue, QueueCounters, QueuePosition, QueueSetup } from './virtqueue/device-queue.ts'
export type { Reader } from './virtqueue/reader.ts'
export type { Writer } from './virtqueue/writer.ts'
