import type { Descriptor } from '../linux/descriptor.ts'

/** Connection to a peer: a Unix socket, or a substitute in tests. */
export interface Connection {
  /** Sends bytes and descriptors, which are borrowed. @throws {SystemCallError} if the peer closed or does not read */
  send(bytes: Uint8Array, descriptors?: readonly Descriptor[]): void
  /** Stops receiving while `held`, so that the current request is completed before the next one is read. */
  hold(held: boolean): void
  /** Closes the connection: nothing more is sent or received. */
  close(): void
}
