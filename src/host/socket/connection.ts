import type { Descriptor } from '../linux/descriptor.ts'

/** Our way to the peer: a Unix socket, or whatever a test puts in its place. */
export interface Connection {
  /** Sends bytes, with descriptors, which it borrows. @throws where the peer is gone or does not read */
  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void
  /** Nothing is received while it is held: a request is under way that has to be finished first. */
  hold(held: boolean): void
  /** No more is sent or received. */
  close(): void
}
