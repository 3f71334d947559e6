import { SpanList } from '../memory/span-list.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

/**
 * One request: the device-readable bytes first, then the device-writable ones. @virtio 2.6
 *
 * Chains belong to their queue and are used again: a device holds one from `pop` until it `push`es it, no longer.
 */
export class Chain {
  /** What names the chain in the rings: the head's index (split) or the buffer id (packed). */
  id = 0
  /** Descriptors it takes in a packed ring: how far the ring moves on when it is used. @virtio 2.8.6 */
  ringLength = 1
  /** Every span, readable ones first. */
  readonly spans = new SpanList()
  /** How many of `spans` are readable; the rest are writable. */
  readableSpans = 0
  readableLength = 0
  writableLength = 0
  readonly reader = new Reader(this.spans)
  readonly writer = new Writer(this.spans)

  /** @param slot its place among its queue's chains */
  constructor(readonly slot = 0) {}
}
