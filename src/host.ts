/**
 * Outboard's devices as processes of Linux: what a program needs besides `outboard` to serve one over vhost-user or vfio-user,
 * and to give a guest's buffers to other programs, or to get them.
 */
export type { Frame } from './host/frames/frame.ts'
export {
  FrameClient,
  type FrameClientOptions,
  type FrameListener,
  type ReceivedScanout,
} from './host/frames/frame-client.ts'
export { FrameError } from './host/frames/frame-error.ts'
export { FrameServer, type FrameServerInspection, type FrameServerOptions } from './host/frames/frame-server.ts'
export type { ReceivedBuffer } from './host/frames/received-buffer.ts'
export { type LineLog, limitedLog } from './host/limited-log.ts'
export { Descriptor } from './host/linux/descriptor.ts'
export { DiskFile } from './host/linux/disk/disk-file.ts'
export { ReactorDisk } from './host/linux/disk/reactor-disk.ts'
export { createReactor, type ReactorOptions } from './host/linux/reactor/create-reactor.ts'
export type { Reactor } from './host/linux/reactor/reactor.ts'
export type { GuestBuffer } from './host/linux/udmabuf/guest-buffer.ts'
export { GuestBuffers, type GuestBuffersOptions } from './host/linux/udmabuf/guest-buffers.ts'
export { UnixListener } from './host/linux/unix-listener.ts'
export { UnixStream } from './host/linux/unix-stream.ts'
export { serveVfioUser, type VfioUserServer } from './transport/vfio-user/vfio-user-server.ts'
export { BufferObjects } from './transport/vhost-user/buffer-objects.ts'
export type {
  Found,
  NotFound,
  SharedObjects,
  SharedObjectsListener,
} from './transport/vhost-user/shared-objects.ts'
export { serveVhostUser, type VhostUserServer } from './transport/vhost-user/vhost-user-server.ts'
