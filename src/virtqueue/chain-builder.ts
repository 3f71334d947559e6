import type { GuestMemory } from '../memory/guest-memory.ts'
import { SpanList } from '../memory/span-list.ts'
import type { Chain } from './chain.ts'
import {
  DESC_ADDR_HI,
  DESC_ADDR_LO,
  DESC_BYTES,
  DESC_LEN,
  DESC_TAIL,
  DESC_WORDS,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './ring-layout.ts'

/** Reasons for which a chain is malformed. */
export const ChainFault = {
  INDEX: 'descriptor index past the end of the table',
  TOO_LONG: 'chain too long, or a loop',
  TOO_LARGE: 'chain of more than 2^32 bytes',
  DIRECTION: 'device-readable descriptor after a device-writable one',
  OUTSIDE: 'address outside guest memory',
  INDIRECT_NOT_NEGOTIATED: 'indirect descriptor without INDIRECT_DESC',
  INDIRECT_CHAINED: 'indirect descriptor chained with NEXT',
  INDIRECT_NESTED: 'indirect descriptor within an indirect table',
  TABLE_LENGTH: 'indirect table length is zero, too large or not a multiple of 16',
  TABLE_OUTSIDE: 'indirect table outside guest memory',
} as const
export type ChainFault = (typeof ChainFault)[keyof typeof ChainFault]

/**
 * Maximum number of descriptors of an indirect chain if the queue is shorter. Drivers send indirect chains that are
 * longer than the queue (Linux does), so the queue size is not the limit.
 * @virtio 2.7.4.1 a device may have a reasonable limit
 */
const INDIRECT_LIMIT = 1024

/**
 * Checks descriptors and translates them to the spans of a chain. Split and packed queues find the descriptors; this
 * class checks their contents.
 */
export class ChainBuilder {
  readonly #memory: GuestMemory
  readonly #indirect: boolean
  readonly #limit: number
  #chain: Chain | undefined
  /** Number of descriptors added to the chain. */
  #count = 0
  /** True after a device-writable descriptor: no device-readable one may follow. */
  #writable = false
  /** Index of the indirect table's first word in the array that `#openTable` returned. */
  #tableStart = 0
  /** Number of entries of the indirect table. */
  #tableEntries = 0
  /** Copy of an indirect table that cannot be read in place. */
  #copy: Uint32Array | undefined
  #copySpans: SpanList | undefined

  constructor(memory: GuestMemory, size: number, indirect: boolean) {
    this.#memory = memory
    this.#indirect = indirect
    this.#limit = Math.max(size, INDIRECT_LIMIT)
  }

  start(chain: Chain): void {
    this.#chain = chain
    this.#count = 0
    this.#writable = false
    chain.spans.clear()
    chain.readableSpans = 0
    chain.readableLength = 0
    chain.writableLength = 0
  }

  /**
   * Adds the buffer of the descriptor at `words[at]`. Length 0 is allowed with any address.
   *
   * Descriptors are passed by position because the JavaScript engine allocates an object for an address argument above
   * 2 GiB. Each field is read only once, since the driver may change it at any time. @virtio 2.7.5
   */
  add(words: Uint32Array, at: number, flags: number): ChainFault | undefined {
    const chain = this.#chain as Chain
    const length = words[at + DESC_LEN]
    if (++this.#count > this.#limit) return ChainFault.TOO_LONG
    if ((flags & VIRTQ_DESC_F_WRITE) !== 0) {
      if (!this.#writable) {
        this.#writable = true
        chain.readableSpans = chain.spans.count
      }
      chain.writableLength += length
    } else {
      if (this.#writable) return ChainFault.DIRECTION
      chain.readableLength += length
    }
    if (chain.readableLength + chain.writableLength > 2 ** 32) return ChainFault.TOO_LARGE
    if (length === 0) return undefined
    const address = words[at + DESC_ADDR_LO] + words[at + DESC_ADDR_HI] * 2 ** 32
    return this.#memory.translate(address, length, chain.spans) ? undefined : ChainFault.OUTSIDE
  }

  /** Adds the linked entries of a split ring's indirect table, from its first entry. @virtio 2.7.5.3 */
  addLinkedTable(words: Uint32Array, at: number, flags: number): ChainFault | undefined {
    const table = this.#openTable(words, at, flags)
    if (typeof table === 'string') return table
    for (let index = 0; ; ) {
      const entry = this.#tableStart + index * DESC_WORDS
      const tail = table[entry + DESC_TAIL]
      if ((tail & VIRTQ_DESC_F_INDIRECT) !== 0) return ChainFault.INDIRECT_NESTED
      const fault = this.add(table, entry, tail & 0xffff)
      if (fault !== undefined) return fault
      if ((tail & VIRTQ_DESC_F_NEXT) === 0) return undefined
      index = tail >>> 16
      if (index >= this.#tableEntries) return ChainFault.INDEX
    }
  }

  /** Adds every entry of a packed ring's indirect table, where only the WRITE flag is valid. @virtio 2.8.7 */
  addFlatTable(words: Uint32Array, at: number, flags: number): ChainFault | undefined {
    const table = this.#openTable(words, at, flags)
    if (typeof table === 'string') return table
    for (let index = 0; index < this.#tableEntries; index++) {
      const entry = this.#tableStart + index * DESC_WORDS
      const fault = this.add(table, entry, table[entry + DESC_TAIL] >>> 16)
      if (fault !== undefined) return fault
    }
    return undefined
  }

  /** Completes the chain and rewinds its reader and writer. */
  finish(): void {
    const chain = this.#chain as Chain
    const spans = chain.spans.count
    if (!this.#writable) chain.readableSpans = spans
    chain.reader.rewind(chain.readableSpans, chain.readableLength)
    chain.writer.rewind(chain.readableSpans, spans, chain.writableLength)
  }

  /**
   * Returns an array that holds the indirect table of the descriptor at `words[at]`: a view in place, or a copy if the
   * table crosses regions or is misaligned. The WRITE flag of the descriptor is ignored. @virtio 2.7.5.3.2, 2.8.7
   */
  #openTable(words: Uint32Array, at: number, flags: number): Uint32Array | ChainFault {
    const address = words[at + DESC_ADDR_LO] + words[at + DESC_ADDR_HI] * 2 ** 32
    const length = words[at + DESC_LEN]
    if (!this.#indirect) return ChainFault.INDIRECT_NOT_NEGOTIATED
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0) return ChainFault.INDIRECT_CHAINED
    if (length === 0 || length % DESC_BYTES !== 0 || length > this.#limit * DESC_BYTES) return ChainFault.TABLE_LENGTH
    this.#tableEntries = length / DESC_BYTES
    const region = this.#memory.find(address)
    if (!region) return ChainFault.TABLE_OUTSIDE
    const offset = address - region.base
    if (offset % 4 !== 0 || length > region.size - offset) return this.#copyTable(address, length)
    this.#tableStart = offset >>> 2
    return region.u32
  }

  #copyTable(address: number, length: number): Uint32Array | ChainFault {
    this.#copySpans ??= new SpanList()
    const spans = this.#copySpans
    spans.clear()
    if (!this.#memory.translate(address, length, spans)) return ChainFault.TABLE_OUTSIDE
    this.#copy ??= new Uint32Array(this.#limit * DESC_WORDS)
    const bytes = new Uint8Array(this.#copy.buffer)
    for (let i = 0, at = 0; i < spans.count; at += spans.lengths[i++]) {
      const start = spans.offsets[i]
      bytes.set(spans.regions[i].u8.subarray(start, start + spans.lengths[i]), at)
    }
    this.#tableStart = 0
    return this.#copy
  }
}
