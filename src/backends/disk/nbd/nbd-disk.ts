import { Errno } from '../../../host/linux/errno.ts'
import { IoVectors } from '../../../host/linux/io-vectors.ts'
import { type Closable, Interest, type Reactor } from '../../../host/linux/reactor/reactor.ts'
import { errnoName } from '../../../host/linux/system-call-error.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import { limitedLog } from '../../../log/limited-log.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { type Disk, DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { DiskError } from '../disk-error.ts'
import { enterExport, type NbdExport } from './handshake.ts'
import { NbdRequest, Stage } from './nbd-request.ts'
import { Peer, readable } from './peer.ts'
import { Magic, NbdCommand, REPLY_BYTES, REQUEST_BYTES, requestHeader } from './protocol.ts'

/** Maximum replies without data that one read receives. */
const MAX_REPLIES = 64
/** Maximum length of a trim in bytes. The server's limit is for payloads only. */
const MAX_TRIM = 1 << 30
/** Maximum time of the flush in `close`. */
const FLUSH_TIMEOUT_MS = 60_000

/** Part of a reactor that the disk uses. */
type Carrier = Pick<Reactor, 'watch' | 'onTurn'>

export interface NbdDiskOptions {
  /** Name of the image, for messages. */
  readonly name: string
  /** Receives a line about each error. @default no log */
  readonly log?: (line: string) => void
}

/**
 * Disk that another program serves over NBD: supports every image format for which a server exists.
 *
 *     const disk = await NbdDisk.open(stream, reactor, { name: 'data.qcow2' })
 *     const device = new BlockDevice(disk)
 *     await reactor.run()
 *     await disk.close()
 *
 * Requests of one turn are sent together, and data is read from the socket to guest memory. If the server disconnects
 * or breaks the protocol, requests in flight and all later ones fail; the disk does not reconnect.
 */
export class NbdDisk implements Disk {
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #stream: UnixStream
  readonly #name: string
  readonly #maxBytes: number
  readonly #log: (line: string) => void
  /** Unlimited log, for a line that is written once. */
  readonly #logOnce: (line: string) => void
  readonly #reactor: Carrier
  readonly #vectors = new IoVectors()
  /** All request objects by slot, and those that are not in use. */
  readonly #requests: NbdRequest[] = []
  readonly #free: NbdRequest[] = []
  /** Linked list of requests to send, and the number of bytes of the first one that were sent. */
  #first: NbdRequest | undefined
  #last: NbdRequest | undefined
  #firstSent = 0
  /** Number of reads that were sent and not answered: data can follow any reply. */
  #reads = 0
  /** Buffer for replies, and the number of bytes in it. */
  readonly #replies = new Uint8Array(new ArrayBuffer(MAX_REPLIES * REPLY_BYTES))
  #replyBytes = 0
  /** Read request whose data is being received, and the number of bytes received. */
  #receiving: NbdRequest | undefined
  #received = 0
  readonly #readable: Closable
  /** Set while the socket has no room. */
  #writable: Closable | undefined
  readonly #hook: Closable
  /** Reason why every request fails; undefined while the server is connected. */
  #failure: string | undefined
  #closed = false

  /** Performs the handshake with a server. The disk owns the stream, also if this fails. @throws {DiskError} */
  static async open(stream: UnixStream, reactor: Carrier, options: NbdDiskOptions): Promise<NbdDisk> {
    try {
      return new NbdDisk(stream, await enterExport(new Peer(stream)), reactor, options)
    } catch (error) {
      stream.close()
      throw error instanceof DiskError ? new DiskError(`${options.name}: ${error.message}`) : error
    }
  }

  private constructor(
    stream: UnixStream,
    about: NbdExport,
    reactor: Carrier,
    { name, log = () => {} }: NbdDiskOptions,
  ) {
    this.#stream = stream
    this.#name = name
    this.#reactor = reactor
    this.#log = limitedLog(log)
    this.#logOnce = log
    this.byteLength = about.byteLength
    this.readOnly = about.readOnly
    this.canDiscard = about.canDiscard
    this.#maxBytes = about.maxBytes
    this.#readable = reactor.watch(stream.fd, () => this.#receive())
    this.#hook = reactor.onTurn(() => this.#send())
  }

  submit(request: DiskRequest): void {
    if (this.#failure !== undefined) request.complete(this.#failure)
    else if (this.#needsNoCommand(request)) request.complete()
    else {
      const entry = this.#free.pop() ?? this.#makeRequest()
      entry.begin(request)
      this.#enqueue(entry)
    }
  }

  /**
   * Flushes, and disconnects from the server.
   * @throws {DiskError} if written data may be lost
   */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    let failure = this.#failure
    if (failure === undefined) {
      if (!this.readOnly) failure = await this.#flush()
      if (this.#failure === undefined) {
        this.#stream.write(DISCONNECT)
        this.#disconnect('the disk is closed')
      }
    }
    if (failure !== undefined && !this.readOnly) {
      throw new DiskError(`${this.#name}: data that the guest wrote may be lost: ${failure}`)
    }
  }

  inspect() {
    return {
      image: this.#name,
      server: this.#failure ?? 'connected',
      requests: this.#requests.length - this.#free.length,
      maxBytes: this.#maxBytes,
    }
  }

  /** True if there is nothing to send: the protocol has no empty ranges, and an unsupported discard is only a hint. */
  #needsNoCommand({ op, length }: DiskRequest): boolean {
    if (op === DiskOp.FLUSH) return this.readOnly
    return length === 0 || (op === DiskOp.DISCARD && !this.canDiscard)
  }

  #makeRequest(): NbdRequest {
    const entry = new NbdRequest(this.#requests.length)
    this.#requests.push(entry)
    return entry
  }

  #enqueue(entry: NbdRequest): void {
    entry.prepare(entry.command === NbdCommand.TRIM ? MAX_TRIM : this.#maxBytes)
    entry.stage = Stage.QUEUED
    entry.next = undefined
    if (this.#last) this.#last.next = entry
    else this.#first = entry
    this.#last = entry
  }

  /** Sends queued requests while the socket has room. @returns true if the reactor must run another turn at once */
  #send(): boolean {
    while (this.#first && !this.#writable && this.#failure === undefined) {
      const whole = this.#gather()
      const result = this.#vectors.write(this.#stream.fd)
      if (result < 0 && result !== -Errno.EAGAIN) {
        this.#failAll(errnoName(-result))
        // Failed requests may have work for turn hooks that already ran.
        return true
      }
      this.#sent(Math.max(result, 0))
      if (result < whole) this.#writable = this.#reactor.watch(this.#stream.fd, () => this.#resume(), Interest.WRITABLE)
    }
    return false
  }

  /** Sets the vectors to queued headers and data, as many as one call takes. @returns their length in bytes */
  #gather(): number {
    const vectors = this.#vectors
    vectors.clear()
    let skip = this.#firstSent
    for (let entry = this.#first; entry && !vectors.full; entry = entry.next) {
      const { header, request, sentBytes } = entry
      if (skip < REQUEST_BYTES) vectors.addBytes(header, skip, REQUEST_BYTES - skip)
      const from = Math.max(skip - REQUEST_BYTES, 0)
      const data = sentBytes - REQUEST_BYTES - from
      if (data > 0 && request) vectors.addSpans(request.data, entry.done + from, data)
      skip = 0
    }
    return vectors.byteLength
  }

  #sent(bytes: number): void {
    let left = this.#firstSent + bytes
    let entry = this.#first
    while (entry && left >= entry.sentBytes) {
      left -= entry.sentBytes
      entry.stage = Stage.SENT
      if (entry.command === NbdCommand.READ) this.#reads++
      entry = entry.next
    }
    this.#first = entry
    if (!entry) this.#last = undefined
    this.#firstSent = left
  }

  /** Continues to send when the socket has room again. */
  #resume(): void {
    this.#writable?.close()
    this.#writable = undefined
    this.#send()
  }

  #receive(): void {
    while (this.#failure === undefined) {
      const wanted = this.#expect()
      const result = this.#vectors.read(this.#stream.fd)
      if (result === -Errno.EAGAIN) return
      if (result <= 0) {
        this.#failAll(result === 0 ? 'it closed the connection' : errnoName(-result))
        return
      }
      this.#take(result)
      // A short read: the socket is empty.
      if (result < wanted) return
    }
  }

  /** Sets the vectors to the room for the rest of a read's data and for replies. @returns their length in bytes */
  #expect(): number {
    const vectors = this.#vectors
    vectors.clear()
    const entry = this.#receiving
    const left = entry ? entry.length - this.#received : 0
    if (entry?.request) vectors.addSpans(entry.request.data, entry.done + this.#received, left)
    // While reads are in flight, data can follow a reply. It must not be read to the buffer for replies.
    const room = this.#reads > 0 ? REPLY_BYTES : this.#replies.length
    if (vectors.byteLength === left) vectors.addBytes(this.#replies, this.#replyBytes, room - this.#replyBytes)
    return vectors.byteLength
  }

  #take(bytes: number): void {
    const entry = this.#receiving
    if (entry) {
      const data = Math.min(bytes, entry.length - this.#received)
      this.#received += data
      if (this.#received < entry.length) return
      this.#receiving = undefined
      this.#replyBytes += bytes - data
      this.#finish(entry, 0)
    } else this.#replyBytes += bytes
    let at = 0
    // A reply with data is the last one in the buffer.
    while (this.#replyBytes - at >= REPLY_BYTES && this.#failure === undefined) {
      this.#answer(at)
      at += REPLY_BYTES
    }
    this.#replies.copyWithin(0, at, this.#replyBytes)
    this.#replyBytes -= at
  }

  /** Handles the reply at `at`. */
  #answer(at: number): void {
    const magic = this.#word(at)
    const error = this.#word(at + 4)
    const generation = this.#word(at + 8)
    const entry = this.#requests[this.#word(at + 12)]
    if (magic !== Magic.SIMPLE_REPLY) this.#failAll(`it sent a reply with the magic number 0x${magic.toString(16)}`)
    else if (entry?.stage !== Stage.SENT || entry.generation !== generation)
      this.#failAll('it sent a reply without a request')
    else if (entry.command !== NbdCommand.READ || error !== 0) this.#finish(entry, error)
    else {
      this.#receiving = entry
      this.#received = 0
    }
  }

  #word(at: number): number {
    const bytes = this.#replies
    return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0
  }

  /** Completes a part of a request. @param error error number of the reply; 0 for success */
  #finish(entry: NbdRequest, error: number): void {
    if (entry.command === NbdCommand.READ) this.#reads--
    entry.done += entry.length
    if (error === 0 && entry.request && entry.done < entry.request.length) {
      this.#enqueue(entry)
      return
    }
    const request = entry.free()
    this.#free.push(entry)
    if (!request) return
    if (error === 0) {
      request.complete()
      return
    }
    const { op, offset, length } = request
    const what = op === DiskOp.FLUSH ? op : `${op} of ${length} bytes at ${offset}`
    // The protocol's error numbers are those of Linux. @nbd Error values
    const failure = `${what}: ${errnoName(error)}`
    this.#log(`${this.#name}: ${failure}`)
    request.complete(failure)
  }

  /** Disconnects, and fails all requests in flight. */
  #failAll(reason: string): void {
    this.#logOnce(`${this.#name}: connection to the image server lost (${reason}): all requests fail`)
    this.#disconnect(`connection to the image server lost (${reason})`)
    for (const entry of this.#requests) {
      if (entry.stage === Stage.FREE) continue
      const request = entry.free()
      this.#free.push(entry)
      request?.complete(this.#failure)
    }
  }

  #disconnect(reason: string): void {
    this.#failure = reason
    this.#readable.close()
    this.#writable?.close()
    this.#hook.close()
    this.#stream.close()
    this.#first = undefined
    this.#last = undefined
    this.#receiving = undefined
  }

  /** Flushes when the reactor no longer runs. @returns the error, if it fails */
  async #flush(): Promise<string | undefined> {
    let completed = false
    let failure: string | undefined
    this.submit({
      ...{ op: DiskOp.FLUSH, offset: 0, length: 0, mayUnmap: false, data: new SpanList() },
      complete(reason) {
        completed = true
        failure = reason
      },
    })
    this.#send()
    while (!completed) {
      if (await readable(this.#stream.fd, FLUSH_TIMEOUT_MS)) this.#receive()
      else this.#failAll(`no reply within ${FLUSH_TIMEOUT_MS / 1000} s`)
    }
    return failure
  }
}

const DISCONNECT = requestHeader.encode({
  ...{ magic: Magic.REQUEST, flags: 0, type: NbdCommand.DISC },
  ...{ cookie: 0n, offset: 0n, length: 0 },
})
