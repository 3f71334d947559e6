import { getSystemErrorName } from 'node:util'
import { Errno } from '../../host/linux/errno.ts'
import { type Closable, Interest, type Reactor } from '../../host/linux/reactor/reactor.ts'
import { Readiness } from '../../host/linux/reactor/readiness.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { copyBytes } from '../../memory/copy-bytes.ts'
import type { SpanList } from '../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../services/network-port.ts'
import { HEADER_BYTES, MAX_FRAME_BYTES } from '../../services/packet.ts'
import { FrameBuffer, LENGTH_BYTES } from './frame-buffer.ts'
import { SpanVectors } from './span-vectors.ts'

/** Time between attempts to connect. */
const RETRY_MS = 300

export interface PasstPortOptions {
  /** Path of the Unix socket on which passt listens. */
  readonly path: string
  /** Receives a line on each connect and disconnect, and on errors. @default no log */
  readonly log?: (line: string) => void
}

/** Counters since the port was created. */
export interface PasstCounters {
  sent: number
  received: number
  /** Successful connects. */
  connections: number
}

/** Resources of one connection. */
interface Connection {
  readonly stream: UnixStream
  readonly readable: Readiness
  readonly writable: Readiness
}

/**
 * Network port over a stream of frames to a program with network access, such as passt: the guest reaches the networks
 * that the host reaches, and no process needs root privileges.
 *
 *     const port = PasstPort.connect({ path: '/run/user/1000/passt.sock' }, reactor)
 *     const device = new NetDevice(port)
 *
 * Each frame is preceded by its length, 4 bytes, most significant first, as in QEMU's `-netdev stream`. While the peer
 * is not connected, the link is down and the port tries to connect. Packets that the peer does not take wait in the
 * guest.
 */
export class PasstPort implements NetworkPort {
  readonly pairs = 1
  readonly mtu = undefined
  readonly speed = undefined
  readonly transmitOffloads = 0
  readonly receiveOffloads = 0
  readonly counters: PasstCounters = { sent: 0, received: 0, connections: 0 }
  readonly #path: string
  readonly #reactor: Reactor
  readonly #log: (line: string) => void
  readonly #vectors = new SpanVectors()
  readonly #frames = new FrameBuffer()
  readonly #length = new Uint8Array(new ArrayBuffer(LENGTH_BYTES))
  /** Unsent end of a frame of which a part was written to the socket. */
  readonly #rest = new Uint8Array(LENGTH_BYTES + MAX_FRAME_BYTES)
  #restStart = 0
  #restEnd = 0
  #listener: PortListener | undefined
  #connection: Connection | undefined
  /** Timer of the next attempt to connect, or of a `readable` call for a frame that was already received. */
  #timer: Closable | undefined
  #closed = false
  #lastError: string | undefined

  /** Connects to the peer, now or when it listens. */
  static connect(options: PasstPortOptions, reactor: Reactor): PasstPort {
    const port = new PasstPort(options, reactor)
    port.#connect()
    return port
  }

  private constructor({ path, log = () => {} }: PasstPortOptions, reactor: Reactor) {
    this.#path = path
    this.#reactor = reactor
    this.#log = limitedLog(log)
  }

  get linkUp(): boolean {
    return this.#connection !== undefined
  }

  attach(listener: PortListener): void {
    this.#listener = listener
  }

  setPairs(count: number): boolean {
    return count === 1
  }

  setReceiveOffloads(offloads: number): boolean {
    return offloads === 0
  }

  transmit(_pair: number, packet: SpanList): boolean {
    const connection = this.#connection
    if (!connection) return true
    const whole = LENGTH_BYTES + packet.byteLength - HEADER_BYTES
    const result = this.#restStart < this.#restEnd ? -Errno.EAGAIN : this.#write(connection, packet)
    if (result === -Errno.EAGAIN) {
      connection.writable.request()
      return false
    }
    if (result < 0) {
      this.#disconnect(getSystemErrorName(result))
      return true
    }
    this.counters.sent++
    if (result < whole) {
      this.#keepRest(packet, result)
      connection.writable.request()
    }
    return true
  }

  receive(_pair: number, packet: SpanList): number {
    while (this.#connection) {
      const length = this.#frames.next
      if (length === undefined) {
        const result = this.#vectors.read(this.#connection.stream.fd, this.#frames.room)
        if (result > 0) this.#frames.filled(result)
        else if (result === -Errno.EAGAIN) break
        else this.#disconnect(result === 0 ? undefined : getSystemErrorName(result))
      } else if (length > MAX_FRAME_BYTES) {
        // The start of the next frame is unknown.
        this.#disconnect(`it sent a frame of ${length} bytes, more than ${MAX_FRAME_BYTES}`)
      } else {
        this.#frames.take(length, packet)
        this.counters.received++
        return HEADER_BYTES + length
      }
    }
    return 0
  }

  expect(): void {
    if (!this.#connection) return
    if (this.#frames.next === undefined) this.#connection.readable.request()
    else this.#timer ??= this.#reactor.timer(0, () => this.#reportReadable())
  }

  close(): void {
    this.#closed = true
    this.#timer?.close()
    this.#closeConnection()
  }

  inspect(): Record<string, unknown> {
    return { kind: 'passt', path: this.#path, ...this.counters, lastError: this.#lastError }
  }

  #connect(): void {
    this.#timer = undefined
    let stream: UnixStream
    try {
      stream = UnixStream.connect(this.#path)
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error
      if (this.#lastError !== error.message) this.#log(`${error.message}; retrying`)
      this.#lastError = error.message
      this.#retry()
      return
    }
    const { fd } = stream
    this.#connection = {
      stream,
      readable: new Readiness(this.#reactor, fd, Interest.READABLE, () => this.#listener?.readable(0)),
      writable: new Readiness(this.#reactor, fd, Interest.WRITABLE, () => this.#flush()),
    }
    this.counters.connections++
    this.#log(`connected to ${this.#path}`)
    this.#listener?.linkChanged()
  }

  /** Closes the connection and schedules a new attempt. @param reason error; undefined if the peer disconnected */
  #disconnect(reason: string | undefined): void {
    this.#lastError = reason ?? 'the peer disconnected'
    this.#log(`${this.#path}: ${this.#lastError}; reconnecting`)
    this.#closeConnection()
    this.#timer?.close()
    this.#retry()
    this.#listener?.linkChanged()
  }

  #closeConnection(): void {
    const connection = this.#connection
    this.#connection = undefined
    this.#frames.clear()
    this.#restStart = 0
    this.#restEnd = 0
    connection?.readable.close()
    connection?.writable.close()
    connection?.stream.close()
  }

  #retry(): void {
    if (!this.#closed) this.#timer = this.#reactor.timer(RETRY_MS, () => this.#connect())
  }

  #reportReadable(): void {
    this.#timer = undefined
    this.#listener?.readable(0)
  }

  #write(connection: Connection, packet: SpanList): number {
    const length = packet.byteLength - HEADER_BYTES
    this.#length[0] = length >>> 24
    this.#length[1] = length >>> 16
    this.#length[2] = length >>> 8
    this.#length[3] = length
    return this.#vectors.writeAfter(connection.stream.fd, this.#length, packet)
  }

  /** Keeps the bytes of length and frame that follow the first `written` ones. */
  #keepRest(packet: SpanList, written: number): void {
    const { count, regions, offsets, lengths } = packet
    const rest = this.#rest
    rest.set(this.#length)
    let end = LENGTH_BYTES
    for (let i = 1; i < count; i++) {
      copyBytes(regions[i].u8, offsets[i], rest, end, lengths[i])
      end += lengths[i]
    }
    this.#restStart = written
    this.#restEnd = end
  }

  #flush(): void {
    const connection = this.#connection
    if (!connection) return
    while (this.#restStart < this.#restEnd) {
      const result = connection.stream.write(this.#rest.subarray(0, this.#restEnd), this.#restStart)
      if (result === -Errno.EAGAIN) {
        connection.writable.request()
        return
      }
      if (result < 0) {
        this.#disconnect(getSystemErrorName(result))
        return
      }
      this.#restStart += result
    }
    this.#listener?.writable(0)
  }
}
