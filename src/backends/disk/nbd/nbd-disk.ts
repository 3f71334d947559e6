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

/** So many answers without data are read at once. */
const MAX_REPLIES = 64
/** The longest range that is trimmed at once. Servers limit payloads only. */
const MAX_TRIM = 1 << 30
/** How long the last flush may take. */
const FLUSH_TIMEOUT_MS = 60_000

/** What it uses of a reactor. */
type Carrier = Pick<Reactor, 'watch' | 'onTurn'>

export interface NbdDiskOptions {
  /** What it is called in messages: the name of the image. */
  readonly name: string
  readonly log?: (line: string) => void
}

/**
 * A disk that another program serves over NBD: any image format there is a server for, without one of ours.
 *
 *     const disk = await NbdDisk.open(stream, reactor, { name: 'data.qcow2' })
 *     const device = new BlockDevice(disk)
 *     await reactor.run()
 *     await disk.close()
 *
 * Requests of one turn leave together, and data is read from the socket to the guest's memory. A server that goes, or says
 * what it should not, is gone for good: whatever is in flight fails, and whatever comes later.
 */
export class NbdDisk implements Disk {
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #stream: UnixStream
  readonly #name: string
  readonly #mostBytes: number
  readonly #log: (line: string) => void
  readonly #logLast: (line: string) => void
  readonly #reactor: Carrier
  readonly #vectors = new IoVectors()
  /** By slot; those not in use. */
  readonly #requests: NbdRequest[] = []
  readonly #free: NbdRequest[] = []
  /** What is to be sent, in order, and how much of the first one is. */
  #first: NbdRequest | undefined
  #last: NbdRequest | undefined
  #firstSent = 0
  /** Reads that the server has: any answer may be followed by data. */
  #reads = 0
  /** Answers as they come, and how many bytes of the next one are there. */
  readonly #replies = new Uint8Array(new ArrayBuffer(MAX_REPLIES * REPLY_BYTES))
  #replyBytes = 0
  /** Whose data is being received, and how much of it came. */
  #receiving: NbdRequest | undefined
  #received = 0
  readonly #readable: Closable
  /** There while the server takes no more. */
  #writable: Closable | undefined
  readonly #hook: Closable
  /** Why nothing is done any more. */
  #failure: string | undefined
  #closed = false

  /** Agrees with a server on what it serves. The stream is the disk's from then on. @throws {DiskError} */
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
    this.#logLast = log
    this.byteLength = about.byteLength
    this.readOnly = about.readOnly
    this.canDiscard = about.canDiscard
    this.#mostBytes = about.mostBytes
    this.#readable = reactor.watch(stream.fd, () => this.#receive())
    this.#hook = reactor.onTurn(() => this.#send())
  }

  submit(request: DiskRequest): void {
    if (this.#failure !== undefined) request.complete(this.#failure)
    else if (this.#isDone(request)) request.complete()
    else {
      const entry = this.#free.pop() ?? this.#makeRequest()
      entry.begin(request)
      this.#enqueue(entry)
    }
  }

  /**
   * Flushes, and leaves the server.
   * @throws {DiskError} where something written may be lost
   */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    let failure = this.#failure
    if (failure === undefined) {
      if (!this.readOnly) failure = await this.#flush()
      if (this.#failure === undefined) {
        this.#stream.write(DISCONNECT)
        this.#leave('the disk is closed')
      }
    }
    if (failure !== undefined && !this.readOnly) {
      throw new DiskError(`${this.#name}: what the guest wrote may be lost: ${failure}`)
    }
  }

  inspect() {
    return {
      image: this.#name,
      server: this.#failure ?? 'connected',
      requests: this.#requests.length - this.#free.length,
      mostBytes: this.#mostBytes,
    }
  }

  /** True if there is nothing to do: a discard that the server lacks is only a hint, and the protocol has no empty range. */
  #isDone({ op, length }: DiskRequest): boolean {
    if (op === DiskOp.FLUSH) return this.readOnly
    return length === 0 || (op === DiskOp.DISCARD && !this.canDiscard)
  }

  #makeRequest(): NbdRequest {
    const entry = new NbdRequest(this.#requests.length)
    this.#requests.push(entry)
    return entry
  }

  #enqueue(entry: NbdRequest): void {
    entry.prepare(entry.command === NbdCommand.TRIM ? MAX_TRIM : this.#mostBytes)
    entry.stage = Stage.QUEUED
    entry.next = undefined
    if (this.#last) this.#last.next = entry
    else this.#first = entry
    this.#last = entry
  }

  /** Sends what the server takes. @returns whether there is more to do at once */
  #send(): boolean {
    while (this.#first && !this.#writable && this.#failure === undefined) {
      const whole = this.#gather()
      const result = this.#vectors.write(this.#stream.fd)
      if (result < 0 && result !== -Errno.EAGAIN) {
        this.#lose(errnoName(-result))
        // Others have heard of this turn already.
        return true
      }
      this.#sent(Math.max(result, 0))
      if (result < whole)
        this.#writable = this.#reactor.watch(this.#stream.fd, () => this.#roomAgain(), Interest.WRITABLE)
    }
    return false
  }

  /** Adds up what is to be sent, as much as one call takes. @returns its bytes */
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

  #roomAgain(): void {
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
        this.#lose(result === 0 ? 'it closed the connection' : errnoName(-result))
        return
      }
      this.#take(result)
      // Less than there was room for: nothing more is there.
      if (result < wanted) return
    }
  }

  /** Makes room for the rest of the data that is coming, and for answers. @returns its bytes */
  #expect(): number {
    const vectors = this.#vectors
    vectors.clear()
    const entry = this.#receiving
    const left = entry ? entry.length - this.#received : 0
    if (entry?.request) vectors.addSpans(entry.request.data, entry.done + this.#received, left)
    // While reads are under way data may follow an answer, and is not to end up here.
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
    // An answer with data is the last of those that are here.
    while (this.#replyBytes - at >= REPLY_BYTES && this.#failure === undefined) {
      this.#answer(at)
      at += REPLY_BYTES
    }
    this.#replies.copyWithin(0, at, this.#replyBytes)
    this.#replyBytes -= at
  }

  /** Takes the answer at `at`. */
  #answer(at: number): void {
    const magic = this.#word(at)
    const error = this.#word(at + 4)
    const generation = this.#word(at + 8)
    const entry = this.#requests[this.#word(at + 12)]
    if (magic !== Magic.SIMPLE_REPLY) this.#lose(`it answers with 0x${magic.toString(16)}`)
    else if (entry?.stage !== Stage.SENT || entry.generation !== generation)
      this.#lose('it sent a reply without a request')
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

  /** A part of a request came to its end. @param error the server's number for it, 0 for none */
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
    // The protocol's numbers are Linux's. @nbd Error values
    const failure = `${what}: ${errnoName(error)}`
    this.#log(`${this.#name}: ${failure}`)
    request.complete(failure)
  }

  /** The server is of no more use. */
  #lose(why: string): void {
    this.#logLast(`${this.#name}: its server is gone (${why}): every request fails from now on`)
    this.#leave(`the server of the image is gone (${why})`)
    for (const entry of this.#requests) {
      if (entry.stage === Stage.FREE) continue
      const request = entry.free()
      this.#free.push(entry)
      request?.complete(this.#failure)
    }
  }

  #leave(why: string): void {
    this.#failure = why
    this.#readable.close()
    this.#writable?.close()
    this.#hook.close()
    this.#stream.close()
    this.#first = undefined
    this.#last = undefined
    this.#receiving = undefined
  }

  /** Flushes when the reactor runs no more. @returns what went wrong */
  async #flush(): Promise<string | undefined> {
    let over = false
    let failure: string | undefined
    this.submit({
      ...{ op: DiskOp.FLUSH, offset: 0, length: 0, mayUnmap: false, data: new SpanList() },
      complete(why) {
        over = true
        failure = why
      },
    })
    this.#send()
    while (!over) {
      if (await readable(this.#stream.fd, FLUSH_TIMEOUT_MS)) this.#receive()
      else this.#lose('it does not answer')
    }
    return failure
  }
}

const DISCONNECT = requestHeader.encode({
  ...{ magic: Magic.REQUEST, flags: 0, type: NbdCommand.DISC },
  ...{ cookie: 0n, offset: 0n, length: 0 },
})
