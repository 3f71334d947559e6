import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'

/** An object that cannot be had. */
export interface NotFound {
  /** For people. */
  readonly reason: string
}

/** Told of names that other devices can ask for: UUIDs of 16 bytes, in the order they are written in. */
export interface SharedObjectsListener {
  added(uuid: Uint8Array): void
  removed(uuid: Uint8Array): void
}

/**
 * Objects of a device that the guest's other devices may ask for by name, wherever they are served. What is given to them
 * is a dma-buf, and nothing but that. Nothing here throws.
 */
export interface SharedObjects {
  /** Tells of every name there is, within the call, and of those that come and go from then on. */
  watch(listener: SharedObjectsListener): Closable
  /** @returns a dma-buf, borrowed from whoever keeps the object, until the next call of anything */
  find(uuid: Uint8Array): Descriptor | NotFound
}

/** Told of the end of a search, once. A descriptor is the listener's from then on. */
export type Found = (result: Descriptor | NotFound) => void

/** A UUID as people write it. */
export function uuidText(uuid: Uint8Array): string {
  const hex = Array.from(uuid, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
