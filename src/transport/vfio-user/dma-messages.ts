import type { BounceMemory } from '../../memory/bounce-memory.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import { Pending } from '../../pending/pending.ts'
import type { RawMessage } from './command-stream.ts'
import { MessageFlag } from './protocol.ts'

// DMA_READ with its reply, and DMA_WRITE                                        @vfio-user DMA_READ, DMA_WRITE
//
//   0         8       16
//   | address | count | data                specification
//
//   0         8       12     12 + count
//   | address | count | data | 4 bytes      QEMU, up to 11.1 at least
//
// The first DMA_READ reply with nonzero data shows which layout the client uses.
const COUNT = 8
const QEMU_DATA = 12
const SPECIFIED_DATA = 16
const HEAD = 16
const WORD = 4

export const ServerCommand = { DMA_READ: 11, DMA_WRITE: 12 } as const
export type ServerCommand = (typeof ServerCommand)[keyof typeof ServerCommand]

/** Maximum data bytes of one message: a socket accepts that many without waiting. */
const MAX_TRANSFER_HERE = 0x8000
/** Limit of written bytes that the client has not yet confirmed. */
const MAX_PENDING = 1 << 28

const SLOW =
  'the client shares no memory: devices access it by messages, which is slow. ' +
  'fix: share it (QEMU: memory-backend-memfd,share=on as memory-backend)'

/** Command to send. Without a command, `done` is called when all earlier transfers are answered. */
interface Transfer {
  readonly command: ServerCommand | undefined
  readonly address: number
  readonly count: number
  /** Data of a DMA_WRITE. */
  readonly data: Uint8Array | undefined
  /** @param data data of a DMA_READ; undefined for other transfers and after an error */
  done(data?: Uint8Array): void
}

export interface DmaMessagesEvents {
  send(command: ServerCommand, id: number, payload: Uint8Array): void
  settle(promise: Promise<unknown>): void
  /** Ends the connection because of an error of the client. */
  fail(reason: string): void
  log(line: string): void
}

/**
 * Access by messages to memory that a client does not share. Only one message is sent at a time, because the client may
 * not answer it while it waits for our reply to a command.
 */
export class DmaMessages implements BounceMemory {
  /** Maximum data bytes of one message for this client. */
  #maxTransfer = MAX_TRANSFER_HERE
  readonly #queue: Transfer[] = []
  #current: Transfer | undefined
  /** True if the current transfer was cancelled: its reply is discarded. */
  #abandoned = false
  #id = 0
  /** Offset of data in the payload; undefined until a read shows it. */
  #dataAt: number | undefined
  /** Written bytes that are not yet confirmed. */
  #pending = 0
  #errorLogged = false
  #slowLogged = false
  #closed = false

  constructor(
    private readonly memory: GuestMemory,
    private readonly events: DmaMessagesEvents,
  ) {}

  /** Sets the maximum data bytes of one message that the client accepts. */
  limit(bytes: number): void {
    this.#maxTransfer = Math.max(WORD, Math.min(MAX_TRANSFER_HERE, bytes))
  }

  run(promise: Promise<unknown>): void {
    this.events.settle(promise)
  }

  async read(address: number, length: number): Promise<Uint8Array | undefined> {
    if (!this.#slowLogged) this.events.log(SLOW)
    this.#slowLogged = true
    const whole = new Uint8Array(length)
    for (let done = 0; done < length; done += this.#maxTransfer) {
      const count = Math.min(this.#maxTransfer, length - done)
      const data = await new Promise<Uint8Array | undefined>((resolve) => {
        this.#add({ command: ServerCommand.DMA_READ, address: address + done, count, data: undefined, done: resolve })
      })
      if (!data) return undefined
      whole.set(data, done)
    }
    return whole
  }

  wrote(region: MemoryRegion, offset: number, length: number): void {
    // The region may have been removed: its addresses are then unmapped or belong to other memory.
    if (length === 0 || this.memory.find(region.base) !== region) return
    this.#pending += length
    if (this.#pending > MAX_PENDING) {
      this.events.fail(
        `it does not keep up with DMA_WRITE: ${this.#pending} bytes are unconfirmed, the limit is ${MAX_PENDING}`,
      )
      return
    }
    for (let at = offset, end = offset + length; at < end; at += this.#maxTransfer) {
      const data = region.u8.slice(at, Math.min(at + this.#maxTransfer, end))
      const done = () => {
        this.#pending -= data.length
      }
      this.#add({ command: ServerCommand.DMA_WRITE, address: region.base + at, count: data.length, data, done })
    }
  }

  afterFlush(then: () => void): void {
    if (this.#idle) then()
    else this.#add({ command: undefined, address: 0, count: 0, data: undefined, done: then })
  }

  flushed(): void | Pending {
    if (this.#idle) return
    const flushed = new Pending()
    this.afterFlush(() => flushed.finish())
    return flushed
  }

  /** Handles a reply. @returns true if it answers the current transfer */
  take({ id, command, flags, error, payload }: RawMessage): boolean {
    const current = this.#current
    if (!current || id !== this.#id || command !== current.command) return false
    this.#current = undefined
    let data: Uint8Array | undefined
    if ((flags & MessageFlag.ERROR) !== 0) {
      this.#logError(`the client answered errno ${error}`)
    } else if (command === ServerCommand.DMA_READ) {
      data = this.#dataOf(current, payload)
      if (!data) this.#logError('invalid reply to DMA_READ')
    }
    current.done(data)
    this.#next()
    return true
  }

  /** Cancels unsent transfers, and discards replies to sent ones, within a range. @default all memory */
  forget(address = 0, size = Number.POSITIVE_INFINITY): void {
    const isAffected = ({ command, address: at, count }: Transfer) =>
      size === Number.POSITIVE_INFINITY || (command !== undefined && at < address + size && address < at + count)
    const dropped = this.#queue.filter(isAffected)
    const kept = this.#queue.filter((transfer) => !isAffected(transfer))
    this.#queue.splice(0, this.#queue.length, ...kept)
    const current = this.#current
    if (current && isAffected(current)) {
      this.#current = { ...current, done: () => {} }
      this.#abandoned = true
      dropped.unshift(current)
    }
    for (const transfer of dropped) transfer.done()
  }

  /** Cancels all transfers, present and future: the client disconnected. */
  close(): void {
    this.#closed = true
    this.forget()
  }

  get #idle(): boolean {
    return (this.#current === undefined || this.#abandoned) && this.#queue.length === 0
  }

  #add(transfer: Transfer): void {
    if (this.#closed) {
      transfer.done()
      return
    }
    this.#queue.push(transfer)
    this.#next()
  }

  #next(): void {
    while (!this.#current) {
      const transfer = this.#queue.shift()
      if (!transfer) return
      if (transfer.command === undefined) {
        transfer.done()
      } else if (transfer.data && this.#dataAt === undefined) {
        this.#logError('the layout of its messages is unknown until a read returns nonzero data')
        transfer.done()
      } else {
        this.#current = transfer
        this.#abandoned = false
        this.#id = (this.#id + 1) & 0xffff
        this.events.send(transfer.command, this.#id, this.#payloadOf(transfer))
      }
    }
  }

  #payloadOf({ address, count, data }: Transfer): Uint8Array {
    const payload = new Uint8Array(HEAD + (data?.length ?? 0))
    const view = new DataView(payload.buffer)
    view.setBigUint64(0, BigInt(address), true)
    view.setUint32(COUNT, count, true)
    if (data) payload.set(data, this.#dataAt)
    return payload
  }

  #dataOf({ address, count }: Transfer, payload: Uint8Array): Uint8Array | undefined {
    if (payload.length !== HEAD + count) return undefined
    const view = new DataView(payload.buffer, payload.byteOffset, payload.length)
    if (view.getBigUint64(0, true) !== BigInt(address) || view.getUint32(COUNT, true) !== count) return undefined
    if (this.#dataAt === undefined) {
      if (count !== WORD) return undefined
      const [early, late] = [view.getUint32(QEMU_DATA, true), view.getUint32(SPECIFIED_DATA, true)]
      if (early !== 0 && late !== 0) return undefined
      if (early === 0 && late === 0) return new Uint8Array(WORD)
      this.#dataAt = early === 0 ? SPECIFIED_DATA : QEMU_DATA
    }
    return payload.slice(this.#dataAt, this.#dataAt + count)
  }

  #logError(why: string): void {
    if (this.#errorLogged) return
    this.#errorLogged = true
    this.events.log(`the client's memory cannot be read or written by message: ${why}`)
  }
}
