import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { accept4, bind, listen, PollEvent, poll } from './posix.ts'
import { unixAddress } from './socket-address.ts'
import { SystemCallError } from './system-call-error.ts'
import { UnixStream, unixSocket } from './unix-stream.ts'

const SOCK_CLOEXEC = 0x8_0000
const BACKLOG = 16

/**
 * Listening Unix socket.
 *
 *     const listener = UnixListener.listen('/run/block.sock')
 *     const stream = listener.accept()       // undefined if no connection waits
 *     listener.close()                       // also removes the socket file
 */
export class UnixListener {
  /** @param path socket file, removed by `close` */
  private constructor(
    readonly descriptor: Descriptor,
    private readonly path?: string,
  ) {}

  /**
   * Listens at a path. A socket file without a listener is replaced.
   * @param mode permissions of the socket file, which decide who may connect. @default by umask
   * @throws {SystemCallError} EADDRINUSE if the path is another file or has a listener
   */
  static listen(path: string, mode?: number): UnixListener {
    const address = unixAddress(path)
    removeStale(path)
    const descriptor = unixSocket(path)
    try {
      bind(`listening on ${path}`, descriptor.fd, address, address.length)
      // Connections are refused until it listens.
      if (mode !== undefined) chmodSync(path, mode)
      listen(`listening on ${path}`, descriptor.fd, BACKLOG)
    } catch (error) {
      descriptor.close()
      throw error
    }
    return new UnixListener(descriptor, path)
  }

  /** Wraps an inherited listening socket, whose path is not removed. Takes ownership of the descriptor. */
  static fromDescriptor(descriptor: Descriptor): UnixListener {
    return new UnixListener(descriptor)
  }

  get fd(): number {
    return this.descriptor.fd
  }

  /** Accepts a connection. @returns undefined if none waits */
  accept(): UnixStream | undefined {
    const what = this.path ?? this.descriptor.what
    // An inherited socket may be blocking, and that setting is shared with its creator.
    if (poll(`waiting on ${what}`, Int32Array.of(this.fd, PollEvent.IN), 1, 0) === 0) return undefined
    try {
      const fd = accept4(`accepting on ${what}`, this.fd, 0, 0, SOCK_CLOEXEC)
      return new UnixStream(new Descriptor(fd, `the peer on ${what}`))
    } catch (error) {
      if (error instanceof SystemCallError && CONNECTION_LOST.includes(error.code)) return undefined
      throw error
    }
  }

  close(): void {
    if (this.descriptor.closed) return
    this.descriptor.close()
    if (this.path === undefined) return
    try {
      unlinkSync(this.path)
    } catch {
      // Another process removed it.
    }
  }
}

const CONNECTION_LOST = ['EAGAIN', 'ECONNABORTED']

/** Removes a socket file that has no listener. */
function removeStale(path: string): void {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return
  try {
    UnixStream.connect(path).close()
  } catch (error) {
    if (error instanceof SystemCallError && error.code === 'ECONNREFUSED') unlinkSync(path)
  }
}
