import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'

/** Failed lookup of an object. */
export interface NotFound {
  /** Reason in one line. */
  readonly reason: string
}

/** Listener for names of objects: UUIDs of 16 bytes, in the order of their text. */
export interface SharedObjectsListener {
  added(uuid: Uint8Array): void
  removed(uuid: Uint8Array): void
}

/**
 * Shared objects of a device, which other devices of the guest look up by name, in any process. Every object is a
 * dma-buf. The methods do not throw.
 */
export interface SharedObjects {
  /** Reports every existing name within the call, and later additions and removals. */
  watch(listener: SharedObjectsListener): Closable
  /** @returns a dma-buf, borrowed from the owner of the object until the next call */
  find(uuid: Uint8Array): Descriptor | NotFound
}

/** Called once with the result of a lookup. The callee owns the descriptor. */
export type Found = (result: Descriptor | NotFound) => void
