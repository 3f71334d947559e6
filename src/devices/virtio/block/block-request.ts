import { SpanList } from '../../../memory/span-list.ts'
import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import { BlkType, HEADER_BYTES } from './protocol.ts'
import type { Refusal } from './refusal.ts'
import type { RequestQueue } from './request-queue.ts'
import { SegmentList } from './segment-list.ts'

/**
 * Request of a driver, as requests to its disk. One request of the driver can become several of the disk, in sequence:
 * one for each segment of a discard, and a flush after each write in writethrough mode.
 */
export class BlockRequest implements DiskRequest {
  /** Request type in the header; may be unknown. @virtio 5.2.6 */
  type = 0
  op: DiskOp = DiskOp.FLUSH
  offset = 0
  length = 0
  mayUnmap = false
  readonly data = new SpanList()
  /** True while the disk executes a part of the request. */
  submitted = false
  /** Created when first needed, because most requests have no segments. */
  #segments: SegmentList | undefined
  /** Index of the next segment to submit, and the end of the segments. */
  #nextSegment = 0
  #endSegment = 0

  /**
   * @param requests queue from which the chain was popped
   * @param done called each time the disk completes a part of the request
   */
  constructor(
    public requests: RequestQueue,
    public chain: Chain,
    private readonly done: (request: BlockRequest, failure: string | undefined) => void,
  ) {}

  /** Reuses the object for another chain. */
  begin(requests: RequestQueue, chain: Chain): void {
    this.requests = requests
    this.chain = chain
    this.#nextSegment = 0
    this.#endSegment = 0
  }

  /** True for write requests, which writethrough mode must flush. */
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

  /** Becomes a discard or write of zeroes of the segments in its data. @returns the refusal if they are invalid */
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

  /** Becomes a request for the next segment. @returns false if there is none */
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

  /** Sets `data` to `length` bytes of the chain, from `skip` bytes after the start of span `first`. Merges spans. */
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
