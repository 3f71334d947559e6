import { Descriptor } from './descriptor.ts'
import { Errno } from './errno.ts'
import { type CFunction, cFunction, errno } from './ffi.ts'
import { MessageHeader } from './message-header.ts'
import { connect, getsockopt, PollEvent, poll, socket, socketpair } from './posix.ts'
import { unixAddress } from './socket-address.ts'
import { SystemCallError } from './system-call-error.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0x8_0000
const SOCK_NONBLOCK = 0x800
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x4000_0000
const SOL_SOCKET = 1
const SO_TYPE = 3
const SO_ACCEPTCONN = 30
const SO_DOMAIN = 39
/**
 * Time limit for sending one message to a peer that reads slowly or not at all. Other peers of this thread wait
 * meanwhile.
 */
const TIMEOUT_MS = 1000
const BUFFER_BYTES = 0x1_0000

/** Bytes and descriptors that `UnixStream.receive` returns. */
export interface Received {
  /** Valid until the next `receive`. */
  readonly bytes: Uint8Array
  /** Descriptors that arrived with the first byte; the caller must close them. */
  readonly descriptors: readonly Descriptor[]
  /** True if descriptors were lost: this process has no free descriptor numbers. */
  readonly truncated: boolean
}

/** The peer closed the connection, or its sending direction. */
export const END = 'end'

let bound: { readonly sendmsg: CFunction; readonly recvmsg: CFunction; readonly header: MessageHeader } | undefined
/** Receive buffer of all streams: each caller uses the bytes before the next `receive`. */
const buffer = new Uint8Array(BUFFER_BYTES)

/** Creates a Unix stream socket that is neither connected nor listening. */
export function unixSocket(what: string): Descriptor {
  return new Descriptor(
    socket(`creating a socket for ${what}`, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
    what,
  )
}

/**
 * Connected Unix stream socket: a stream of bytes, some of which are accompanied by descriptors.
 *
 *     const stream = UnixStream.connect('/run/block.sock')
 *     stream.send(message, [memory.descriptor])
 *     const received = stream.receive()      // undefined if nothing has arrived
 *     if (received === END) stream.close()
 *
 * Only `send` waits for the peer: up to a second if it does not read.
 */
export class UnixStream {
  constructor(readonly descriptor: Descriptor) {}

  /** @throws {SystemCallError} ENOENT if there is no socket, ECONNREFUSED if no process listens */
  static connect(path: string): UnixStream {
    const address = unixAddress(path)
    const descriptor = unixSocket(path)
    try {
      connect(`connecting to ${path}`, descriptor.fd, address, address.length)
    } catch (error) {
      descriptor.close()
      throw error
    }
    return new UnixStream(descriptor)
  }

  /**
   * Wraps a descriptor from a peer. Takes ownership of it, even if the call fails.
   * @throws {SystemCallError | Error} if it is not a connected Unix stream socket
   */
  static fromDescriptor(descriptor: Descriptor): UnixStream {
    try {
      const option = (name: number) => socketOption(descriptor, name)
      const isStream = option(SO_DOMAIN) === AF_UNIX && option(SO_TYPE) === SOCK_STREAM
      if (!isStream || isListening(descriptor))
        throw new Error(`${descriptor.what} is not a connected Unix stream socket`)
      return new UnixStream(descriptor)
    } catch (error) {
      descriptor.close()
      throw error
    }
  }

  get fd(): number {
    return this.descriptor.fd
  }

  /**
   * Sends all bytes, and descriptors with the first of them. The descriptors are borrowed.
   * @param bytes at least one
   * @throws {SystemCallError} EPIPE if the peer closed, EAGAIN if it does not read. Part of the message may have been
   *   sent: close the stream
   */
  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    let fds = descriptors.map((descriptor) => descriptor.fd)
    let deadline: number | undefined
    for (let sent = 0; sent < bytes.length; ) {
      const result = this.#write(bytes, sent, fds)
      if (result === -Errno.EAGAIN) {
        deadline ??= performance.now() + TIMEOUT_MS
        this.#waitForRoom(deadline - performance.now())
      } else if (result < 0) throw new SystemCallError('sendmsg', -result, `sending to ${this.descriptor.what}`)
      else {
        sent += result
        fds = []
      }
    }
  }

  /**
   * Sends as many bytes from `offset` on as the socket accepts now, and descriptors with the first of them. The
   * descriptors are borrowed.
   * @returns number of bytes sent, or -errno: -EAGAIN if the socket accepts none, and then no descriptor was sent
   *   either
   */
  write(bytes: Uint8Array, offset = 0, descriptors: readonly Descriptor[] = []): number {
    const fds = descriptors.map((descriptor) => descriptor.fd)
    return this.#write(bytes, offset, fds)
  }

  /**
   * Receives up to 64 KiB, but not past bytes that have descriptors.
   * @returns undefined if nothing has arrived; `END` if the peer closed
   */
  receive(): Received | typeof END | undefined {
    const { recvmsg, header } = calls()
    header.point(buffer)
    header.expect()
    const result = retried(recvmsg, this.fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)
    if (result === -Errno.EAGAIN) return undefined
    if (result === 0 || result === -Errno.ECONNRESET) return END
    if (result < 0) throw new SystemCallError('recvmsg', -result, `receiving from ${this.descriptor.what}`)
    const descriptors = header.received().map((fd) => new Descriptor(fd, `a descriptor from ${this.descriptor.what}`))
    return { bytes: buffer.subarray(0, result), descriptors, truncated: header.truncated }
  }

  close(): void {
    this.descriptor.close()
  }

  #write(bytes: Uint8Array, offset: number, fds: readonly number[]): number {
    const { sendmsg, header } = calls()
    header.point(bytes, offset)
    header.attach(fds)
    return retried(sendmsg, this.fd, header, MSG_DONTWAIT | MSG_NOSIGNAL)
  }

  #waitForRoom(milliseconds: number): void {
    const waiting = Int32Array.of(this.fd, PollEvent.OUT)
    if (milliseconds > 0 && poll('waiting for room', waiting, 1, Math.ceil(milliseconds)) > 0) return
    throw new SystemCallError('sendmsg', Errno.EAGAIN, `sending to ${this.descriptor.what}, which does not read`)
  }
}

/** True if a socket, which is borrowed, is a listening one. */
export function isListening(descriptor: Descriptor): boolean {
  return socketOption(descriptor, SO_ACCEPTCONN) !== 0
}

function socketOption({ fd, what }: Descriptor, name: number): number {
  const value = new Int32Array(1)
  getsockopt(`reading an option of ${what}`, fd, SOL_SOCKET, name, value, Uint32Array.of(4))
  return value[0]
}

/** Creates two streams that are connected to each other. */
export function socketPair(what: string): [UnixStream, UnixStream] {
  const fds = new Int32Array(2)
  socketpair(`creating ${what}`, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
  return [new UnixStream(new Descriptor(fds[0], what)), new UnixStream(new Descriptor(fds[1], what))]
}

/** Repeats a call that a signal interrupts. @returns its result, or -errno */
function retried(call: CFunction, fd: number, header: MessageHeader, flags: number): number {
  for (;;) {
    const result = call(fd, header.words, flags)
    if (result >= 0) return result
    const reason = errno()
    if (reason !== Errno.EINTR) return -reason
  }
}

function calls() {
  bound ??= {
    sendmsg: cFunction('int64_t sendmsg(int fd, const void *message, int flags)'),
    recvmsg: cFunction('int64_t recvmsg(int fd, void *message, int flags)'),
    header: new MessageHeader(),
  }
  return bound
}
