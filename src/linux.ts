/**
 * Outboard on Linux: serves devices to other monitors over vhost-user and vfio-user, and exchanges buffers of guests with
 * other programs.
 */

// Buffers of guests: given to other programs, and received from them
export type { GuestBuffer } from './backends/buffers/guest-buffer.ts'
export { GuestBuffers, type GuestBuffersOptions } from './backends/buffers/guest-buffers.ts'
// Disks and network ports on the reactor
export { NbdDisk } from './backends/disk/nbd/nbd-disk.ts'
export { DiskFile } from './backends/disk/reactor/disk-file.ts'
export { ReactorDisk } from './backends/disk/reactor/reactor-disk.ts'
export { PasstPort } from './backends/net/passt-port.ts'
export { TapPort } from './backends/net/tap-port.ts'
// Reactor and sockets
export { Descriptor } from './host/linux/descriptor.ts'
export { createReactor, type ReactorOptions } from './host/linux/reactor/create-reactor.ts'
export type { Reactor } from './host/linux/reactor/reactor.ts'
export { UnixListener } from './host/linux/unix-listener.ts'
export { UnixStream } from './host/linux/unix-stream.ts'
export { type LineLog, limitedLog } from './log/limited-log.ts'
export type { Frame } from './sharing/frames/frame.ts'
export {
  FrameClient,
  type FrameClientOptions,
  type FrameListener,
  type ReceivedScanout,
} from './sharing/frames/frame-client.ts'
export { FrameError } from './sharing/frames/frame-error.ts'
export { FrameServer, type FrameServerInspection, type FrameServerOptions } from './sharing/frames/frame-server.ts'
export type { ReceivedBuffer } from './sharing/frames/received-buffer.ts'
// Servers
export { serveVfioUser, type VfioUserServer } from './transport/vfio-user/vfio-user-server.ts'
export { BufferObjects } from './transport/vhost-user/buffer-objects.ts'
export type { Found, NotFound, SharedObjects, SharedObjectsListener } from './transport/vhost-user/shared-objects.ts'
export { serveVhostUser, type VhostUserServer } from './transport/vhost-user/vhost-user-server.ts'
