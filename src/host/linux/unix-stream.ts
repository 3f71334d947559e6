import { Descriptor } from './descriptor.ts'
import { Errno } from './errno.ts'
import { type CFunction, cFunction, errno } from './ffi.ts'
import { MessageHeader } from './message-header.ts'
import { unixAddress } from './socket-address.ts'
import { systemCall } from './system-call.ts'
import { SystemCallError } from './system-call-error.ts'

const AF_UNIX = 1
const SOCK_STREAM = 1
const SOCK_CLOEXEC = 0x8_0000
const SOCK_NONBLOCK = 0x800
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x4000_0000
const POLLOUT = 4
const SOL_SOCKET = 1
const SO_TYPE = 3
const SO_ACCEPTCONN = 30
const SO_DOMAIN = 39
/** How long a whole message waits for a peer that does not read, or reads slowly. Longer, and it keeps up those who wait for us. */
const TIMEOUT_MS = 1000
const BUFFER_BYTES = 0x1_0000

const socket = systemCall<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
)
const connect = systemCall<[fd: number, address: Uint8Array, length: number]>(
  'int connect(int fd, const void *address, uint32_t length)',
)
const socketpair = systemCall<[domain: number, type: number, protocol: number, fds: Int32Array]>(
  'int socketpair(int domain, int type, int protocol, void *fds)',
)
const getsockopt = systemCall<[fd: number, level: number, option: number, value: Int32Array, length: Uint32Array]>(
  'int getsockopt(int fd, int level, int option, void *value, void *length)',
)
const pollOne = systemCall<[descriptors: Int32Array, count: number, timeout: number]>(
  'int poll(void *descriptors, uint64_t count, int timeout)',
)

/** What came, which `UnixStream.receive` uses again. */
export interface Received {
  /** Valid until the next `receive`. */
  readonly bytes: Uint8Array
  /** Descriptors that came with the first byte; the receiver closes them. */
  readonly descriptors: readonly Descriptor[]
  /** Descriptors were lost: this process has no numbers left for them. */
  readonly truncated: boolean
}

/** The peer closed the connection, or its sending direction. */
export const END = 'end'

let bound: { readonly sendmsg: CFunction; readonly recvmsg: CFunction; readonly header: MessageHeader } | undefined
/** Received to by all streams in turn: bytes are taken before the next is read. */
const buffer = new Uint8Array(BUFFER_BYTES)

/** A new Unix stream socket that is neither connected nor listening yet. */
export function unixSocket(what: string): Descriptor {
  return new Descriptor(
    socket(`making a socket for ${what}`, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
    what,
  )
}

/**
 * A connected Unix socket: a stream of bytes, with descriptors beside some of them.
 *
 *     const stream = UnixStream.connect('/run/block.sock')
 *     stream.send(message, [memory.descriptor])
 *     const received = stream.receive()      // undefined where nothing is there yet
 *     if (received === END) stream.close()
 *
 * Nothing here waits for the peer, but `send` a second for one that does not read.
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
   * The stream behind a descriptor of a peer. It owns the descriptor, which is closed where this fails.
   * @throws {SystemCallError | Error} where it is no connection of a Unix stream socket
   */
  static fromDescriptor(descriptor: Descriptor): UnixStream {
    try {
      const option = (name: number) => socketOption(descriptor, name)
      const isStream = option(SO_DOMAIN) === AF_UNIX && option(SO_TYPE) === SOCK_STREAM
      if (!isStream || isListening(descriptor)) throw new Error(`${descriptor.what} is no Unix stream socket`)
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
   * Sends all the bytes, and descriptors, which it borrows, beside the first of them. There has to be one.
   * @throws {SystemCallError} EPIPE where the peer is gone, EAGAIN where it does not read. Part of it may have been sent: there
   *   is nothing more to say on this stream then
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
   * Sends what fits now, from `offset` on, and descriptors, which it borrows, beside the first of it.
   * @returns how many bytes that is, or -errno: -EAGAIN where none fits, and no descriptor went either
   */
  write(bytes: Uint8Array, offset = 0, descriptors: readonly Descriptor[] = []): number {
    const fds = descriptors.map((descriptor) => descriptor.fd)
    return this.#write(bytes, offset, fds)
  }

  /**
   * Takes what is there, up to 64 KiB, and never past bytes with descriptors beside them.
   * @returns undefined where nothing is there now; `END` where the peer is gone
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
    const waiting = Int32Array.of(this.fd, POLLOUT)
    if (milliseconds > 0 && pollOne('waiting for room', waiting, 1, Math.ceil(milliseconds)) > 0) return
    throw new SystemCallError('sendmsg', Errno.EAGAIN, `sending to ${this.descriptor.what}, which does not read`)
  }
}

/** Whether a socket, which it borrows, listens: as opposed to one that is connected already. */
export function isListening(descriptor: Descriptor): boolean {
  return socketOption(descriptor, SO_ACCEPTCONN) !== 0
}

function socketOption({ fd, what }: Descriptor, name: number): number {
  const value = new Int32Array(1)
  getsockopt(`looking at ${what}`, fd, SOL_SOCKET, name, value, Uint32Array.of(4))
  return value[0]
}

/** Two streams, each the other's peer. */
export function socketPair(what: string): [UnixStream, UnixStream] {
  const fds = new Int32Array(2)
  socketpair(`making ${what}`, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds)
  return [new UnixStream(new Descriptor(fds[0], what)), new UnixStream(new Descriptor(fds[1], what))]
}

/** @returns what the call does, or -errno */
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
