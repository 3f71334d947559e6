import { SpanList } from '../memory/span-list.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'

/**
 * Descriptor chain, which is one request: device-readable bytes, then device-writable bytes. @virtio 2.6
 *
 * Chains belong to their queue and are reused: a device must not use one after it pushed it.
 */
export class Chain {
  /** Index of the head (split ring) or buffer id (packed ring). */
  id = 0
  /** Number of chains that the queue had read from the ring with this one, to find the one read last. */
  sequence = 0
  /** Number of descriptors in a packed ring: the used position advances by it. @virtio 2.8.6 */
  ringLength = 1
  /** Guest memory of the chain, readable spans first. */
  readonly spans = new SpanList()
  /** Number of readable spans. */
  readableSpans = 0
  readableLength = 0
  writableLength = 0
  readonly reader = new Reader(this.spans)
  readonly writer = new Writer(this.spans)

  /** @param slot index in the queue's pool */
  constructor(readonly slot = 0) {}
}
