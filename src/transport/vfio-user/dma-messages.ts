import type { BounceMemory } from '../../memory/bounce-memory.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import { Pending } from '../../pending/pending.ts'
import type { RawMessage } from './command-stream.ts'
import { MessageFlag } from './protocol.ts'

// DMA_READ and DMA_WRITE, and what answers the first                            @vfio-user DMA_READ, DMA_WRITE
//
//   0         8       16
//   | address | count | data                in the specification
//
//   0         8       12     12 + count
//   | address | count | data | 4 bytes      as QEMU has it, up to 11.1 at least
//
// Which one a client means shows in the first four bytes that are read and not all 0: they are in one place or the other.
const COUNT = 8
const QEMU_DATA = 12
const SPECIFIED_DATA = 16
const HEAD = 16
const WORD = 4

export const ServerCommand = { DMA_READ: 11, DMA_WRITE: 12 } as const
export type ServerCommand = (typeof ServerCommand)[keyof typeof ServerCommand]

/** Bytes one message moves at most: what a socket takes without waiting. */
const MAX_TRANSFER_HERE = 0x8000
/** Written bytes that wait for the client: more, and it does not keep up. */
const MAX_PENDING = 1 << 28

const SLOW =
  'the client shares no memory: what devices read and write goes by message, which is slow; share it (QEMU: memory-backend-memfd,share=on as memory-backend)'

/** Something to be sent, or, without a command, to be done once all before it is answered. */
interface Transfer {
  readonly command: ServerCommand | undefined
  readonly address: number
  readonly count: number
  /** What is written. */
  readonly data: Uint8Array | undefined
  /** @param data what was read; undefined where nothing was */
  done(data?: Uint8Array): void
}

export interface DmaMessagesEvents {
  send(command: ServerCommand, id: number, payload: Uint8Array): void
  settle(promise: Promise<unknown>): void
  /** The client does what ends the connection. */
  fail(reason: string): void
  log(line: string): void
}

/**
 * Memory that a client keeps to itself, read and written by messages: one after the other, since one that was sent
 * may not be answered while the client waits for an answer of ours.
 */
export class DmaMessages implements BounceMemory {
  /** Bytes in one message. */
  #most = MAX_TRANSFER_HERE
  readonly #queue: Transfer[] = []
  #current: Transfer | undefined
  /** The current transfer was cancelled: its reply is discarded. */
  #abandoned = false
  #id = 0
  /** Where data begins in a message; undefined until something was read. */
  #dataAt: number | undefined
  #pending = 0
  #complained = false
  #slowLogged = false
  #closed = false

  constructor(
    private readonly memory: GuestMemory,
    private readonly events: DmaMessagesEvents,
  ) {}

  /** @param most bytes the client moves at once */
  limit(most: number): void {
    this.#most = Math.max(WORD, Math.min(MAX_TRANSFER_HERE, most))
  }

  run(promise: Promise<unknown>): void {
    this.events.settle(promise)
  }

  async read(address: number, length: number): Promise<Uint8Array | undefined> {
    if (!this.#slowLogged) this.events.log(SLOW)
    this.#slowLogged = true
    const whole = new Uint8Array(length)
    for (let done = 0; done < length; done += this.#most) {
      const count = Math.min(this.#most, length - done)
      const data = await new Promise<Uint8Array | undefined>((resolve) => {
        this.#add({ command: ServerCommand.DMA_READ, address: address + done, count, data: undefined, done: resolve })
      })
      if (!data) return undefined
      whole.set(data, done)
    }
    return whole
  }

  wrote(region: MemoryRegion, offset: number, length: number): void {
    // A removed region is not guest memory any more, or other memory.
    if (length === 0 || this.memory.find(region.base) !== region) return
    this.#pending += length
    if (this.#pending > MAX_PENDING) {
      this.events.fail(`${this.#pending} bytes wait to be written to the client's memory`)
      return
    }
    for (let at = offset, end = offset + length; at < end; at += this.#most) {
      const data = region.u8.slice(at, Math.min(at + this.#most, end))
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
    const settled = new Pending()
    this.afterFlush(() => settled.finish())
    return settled
  }

  /** Takes an answer. @returns whether it is one to what was sent last */
  take({ id, command, flags, error, payload }: RawMessage): boolean {
    const current = this.#current
    if (!current || id !== this.#id || command !== current.command) return false
    this.#current = undefined
    let data: Uint8Array | undefined
    if ((flags & MessageFlag.ERROR) !== 0) {
      this.#complain(`${error}`)
    } else if (command === ServerCommand.DMA_READ) {
      data = this.#dataOf(current, payload)
      if (!data) this.#complain('an answer that makes no sense')
    }
    current.done(data)
    this.#next()
    return true
  }

  /** Cancels unsent transfers, and discards replies to sent ones, within a range. @default all memory */
  forget(address = 0, size = Number.POSITIVE_INFINITY): void {
    const concerned = ({ command, address: at, count }: Transfer) =>
      size === Number.POSITIVE_INFINITY || (command !== undefined && at < address + size && address < at + count)
    const dropped = this.#queue.filter(concerned)
    const kept = this.#queue.filter((transfer) => !concerned(transfer))
    this.#queue.splice(0, this.#queue.length, ...kept)
    const current = this.#current
    if (current && concerned(current)) {
      this.#current = { ...current, done: () => {} }
      this.#abandoned = true
      dropped.unshift(current)
    }
    for (const transfer of dropped) transfer.done()
  }

  /** The client is gone. */
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
        this.#complain('how it lays out data is not known yet')
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

  #complain(why: string): void {
    if (this.#complained) return
    this.#complained = true
    this.events.log(`the client's memory cannot be read or written by message: ${why}`)
  }
}
