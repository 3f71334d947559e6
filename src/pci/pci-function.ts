import type { Pending } from '../pending/pending.ts'

/**
 * One PCI function, as the bus that holds it sees it. An engine or a transport (v86, vfio-user) calls it; the function
 * reaches back through `PciBus`.
 */
export interface PciFunction {
  readonly name: string
  /** By BAR number, 0 to 5; a 64-bit BAR takes two, the second is undefined. */
  readonly bars: readonly (PciBar | undefined)[]
  /** Little-endian value of `width` (1, 2 or 4) bytes of the configuration space. */
  configRead(offset: number, width: number): number
  configWrite(offset: number, width: number, value: number): void
  /** The bus decodes addresses, by itself or by what `bars` says: it asks only for what the function is to answer. */
  barRead(bar: number, offset: number, width: number): number
  barWrite(bar: number, offset: number, width: number, value: number): void
  /**
   * The memory map changed. Once the wait that it returns has ended, nothing of the function touches what is gone.
   * @param gone whether anything is
   */
  memoryChanged?(gone: boolean): void | Pending
  /** Tells the driver of what is finished, where that waits for the end of a batch. To be called before a thread sleeps. */
  publish?(): void
  /** Does what the driver asks for in memory, which need not tell of it until `rest`. @returns whether there was something */
  poll?(): boolean
  stopPolling?(): void
  /** A vector that `sendVector` refused may be sent now. */
  retryVectors?(): void
  /** Bus reset: no interrupt is asserted, and no request is in flight once the wait that it returns has ended. */
  reset(): void | Pending
}

export interface PciBar {
  /** Bytes, a power of two. */
  readonly size: number
  readonly kind: 'memory32' | 'memory64' | 'io'
  readonly prefetchable: boolean
  /** Where the driver or firmware put it: a guest address, 0 until it did. */
  readonly address: number
  /** Whether the function is to answer at `address`: memory decoding is on, and it was put somewhere. */
  readonly decoded: boolean
  /** What of it a monitor can map into the guest, where there is something. */
  readonly mappable?: MappableParts | undefined
}

/** Parts of a BAR that lie in a file. Mapped into the guest, an access to them costs no exit. */
export interface MappableParts {
  readonly fd: number
  /** Where in the file the BAR's first byte is. */
  readonly offset: number
  /** Whole pages, in ascending order. */
  readonly areas: readonly { readonly offset: number; readonly size: number }[]
}

/** What a function needs from the bus it sits on. */
export interface PciBus {
  /** Level of the function's interrupt pin. */
  setInterruptLine(asserted: boolean): void
  /** A message-signalled interrupt. Where the bus has neither this nor the next, MSI-X is not offered. */
  sendMessage?: (address: number, data: number) => void
  /**
   * The same on a bus that keeps the table of messages to itself, and with it what is masked: the function's own table
   * says nothing there.
   * @returns false where the vector is masked; then it stays pending until `retryVectors`
   */
  sendVector?: (vector: number) => boolean
  /** A BAR moved, or memory decoding went on or off. */
  barsChanged?: () => void
}
