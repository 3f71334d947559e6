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
} from './devices/block/block.ts'
export { type Disk, DiskOp, type DiskRequest } from './devices/block/disk.ts'
export { MemoryDisk, type MemoryDiskOptions } from './devices/block/memory-disk.ts'
export { ConsoleDevice } from './devices/console/console.ts'
export type { ConsoleSize } from './devices/console/control.ts'
export type { ConsolePortHost, ConsolePortOptions } from './devices/console/port.ts'
export { EntropyDevice } from './devices/entropy/entropy.ts'
export { cryptoRandomSource, type RandomSource } from './devices/entropy/random-source.ts'
export type {
  CursorPicture,
  Display,
  PreferredMode,
  PreferredModes,
  Rect,
  Surface,
  SurfacePath,
} from './devices/gpu/display.ts'
export type { Monitor } from './devices/gpu/edid.ts'
export { GpuDevice, type GpuInspection, type GpuOptions } from './devices/gpu/gpu.ts'
export { GpuHeap, type HeapInspection, type HeapMemory } from './devices/gpu/heap.ts'
export type { Picture, PicturePlane } from './devices/gpu/picture.ts'
export type { BlobRequest, CapabilitySet, ContextHost, RenderContext, Renderer } from './devices/gpu/renderer.ts'
export type {
  BufferKind,
  BufferSharing,
  NotShared,
  SharedBuffer,
  ShareRequest,
} from './devices/gpu/shared-buffer.ts'
export type { InputDescription } from './devices/input/description.ts'
export type { InputEvent } from './devices/input/event-backlog.ts'
export { InputDevice, type StatusListener } from './devices/input/input.ts'
export { createKeyboard, type KeyboardOptions } from './devices/input/keyboard.ts'
export { createTablet } from './devices/input/tablet.ts'
export { type NetCounters, NetDevice, type NetDeviceOptions } from './devices/net/net.ts'
export { createNetworkLink, type NetworkLinkOptions } from './devices/net/network-link.ts'
export { type NetworkPort, Offload, type PortListener } from './devices/net/network-port.ts'
export { type LineLog, limitedLog } from './host/limited-log.ts'
export { GuestMemory, type WriteListener } from './memory/guest-memory.ts'
export { MemoryError } from './memory/memory-error.ts'
export { MemoryRegion, type RegionBacking, type RegionSource } from './memory/memory-region.ts'
export { ScatterList } from './memory/scatter-list.ts'
export { SpanList } from './memory/span-list.ts'
export type { BaseAddressRequest } from './pci/base-address.ts'
export { CapabilityId, type PciCapability } from './pci/capability.ts'
export { ConfigurationSpace, type PciIdentity } from './pci/configuration-space.ts'
export { MSIX_MOST_VECTORS, Msix } from './pci/msix.ts'
export type { PciBar, PciBus, PciFunction } from './pci/pci-function.ts'
export { Pending } from './pending/pending.ts'
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
