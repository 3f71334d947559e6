import { SpanList } from '../../../memory/span-list.ts'
import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import { BlkType, HEADER_BYTES } from './protocol.ts'
import type { Refusal } from './refusal.ts'
import type { RequestQueue } from './request-queue.ts'
import { SegmentList } from './segment-list.ts'

/**
 * A driver's request as its disk sees it. One of the driver's may be several of the disk's, one after the other: each
 * segment of a discard, and the flush that follows a write while the cache writes through.
 */
export class BlockRequest implements DiskRequest {
  /** What the driver asked for, as it said it. */
  type = 0
  op: DiskOp = DiskOp.FLUSH
  offset = 0
  length = 0
  mayUnmap = false
  readonly data = new SpanList()
  /** The disk has it. */
  submitted = false
  /** Made when first needed: most requests have none. */
  #segments: SegmentList | undefined
  /** Segments not yet given to the disk start here. */
  #nextSegment = 0
  #endSegment = 0

  /**
   * @param requests where the chain came from
   * @param done called each time the disk is done with what it was given
   */
  constructor(
    public requests: RequestQueue,
    public chain: Chain,
    private readonly done: (request: BlockRequest, failure: string | undefined) => void,
  ) {}

  /** Another use, for another chain. */
  begin(requests: RequestQueue, chain: Chain): void {
    this.requests = requests
    this.chain = chain
    this.#nextSegment = 0
    this.#endSegment = 0
  }

  /** Whether it is a kind of write, which a cache that writes through has to flush. */
  get writes(): boolean {
    return this.type === BlkType.OUT || this.type === BlkType.WRITE_ZEROES
  }

  /** Becomes a transfer of all the data between header and status. */
  transfer(op: typeof DiskOp.READ | typeof DiskOp.WRITE, offset: number, length: number): void {
    this.op = op
    this.offset = offset
    this.length = length
    if (op === DiskOp.READ) this.#take(this.chain.readableSpans, 0, length)
    else this.#take(0, HEADER_BYTES, length)
  }

  flush(): void {
    this.op = DiskOp.FLUSH
    this.offset = 0
    this.length = 0
    this.data.clear()
  }

  /** Becomes a discard, or writing zeroes, of the segments in its data. @returns why not */
  readSegments(capacity: number): Refusal | undefined {
    const discard = this.type === BlkType.DISCARD
    this.#segments ??= new SegmentList()
    const refusal = this.#segments.read(this.chain.reader, discard, capacity)
    if (refusal) return refusal
    this.op = discard ? DiskOp.DISCARD : DiskOp.WRITE_ZEROES
    this.data.clear()
    this.#endSegment = this.#segments.count
    return undefined
  }

  /** Goes on to the next segment. @returns false where there is none */
  nextSegment(): boolean {
    const segments = this.#segments
    if (!segments || this.#nextSegment === this.#endSegment) return false
    this.offset = segments.offsets[this.#nextSegment]
    this.length = segments.lengths[this.#nextSegment]
    this.mayUnmap = segments.mayUnmap[this.#nextSegment] !== 0
    this.#nextSegment++
    return true
  }

  complete(failure?: string): void {
    if (!this.submitted) return
    this.submitted = false
    this.done(this, failure)
  }

  /** Points at `length` bytes of the chain, from `skip` bytes after the start of span `first`; neighbours are merged. */
  #take(first: number, skip: number, length: number): void {
    const { regions, offsets, lengths } = this.chain.spans
    this.data.clear()
    for (let i = first, left = length; left > 0; i++) {
      const pass = Math.min(skip, lengths[i])
      const take = Math.min(left, lengths[i] - pass)
      skip -= pass
      left -= take
      if (take > 0) this.data.merge(regions[i], offsets[i] + pass, take)
    }
  }
}
