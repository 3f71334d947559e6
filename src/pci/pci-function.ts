import type { BusDevice } from '../bus/bus-device.ts'
import type { Pending } from '../pending/pending.ts'

/**
 * PCI function. The bus (v86, vfio-user) calls it; the function calls the bus through `PciBus`.
 */
export interface PciFunction {
  readonly name: string
  /** BARs by number, 0 to 5. A 64-bit BAR takes two, of which the second is undefined. */
  readonly bars: readonly (PciBar | undefined)[]
  /** Size of the configuration space in bytes: 256, or 4096 with extended capabilities. @default 256 */
  readonly configSize?: number
  /** Expansion ROM, if the function has one. */
  readonly rom?: PciBar | undefined
  /** Returns the little-endian value of `width` (1, 2 or 4) bytes of the configuration space. */
  configRead(offset: number, width: number): number
  configWrite(offset: number, width: number, value: number): void
  /**
   * Follows a change of the memory map.
   * @param removed true if regions were removed
   * @returns a wait until the function no longer accesses removed regions; undefined if it already does not
   */
  memoryChanged?(removed: boolean): void | Pending
  /** Publishes finished requests that wait for the end of a batch. Must be called before a thread sleeps. */
  publish?(): void
  /** Serves requests found by polling; drivers need not notify until `stopPolling`. @returns whether there were any */
  poll?(): boolean
  /** Ends polling: drivers must notify again. */
  stopPolling?(): void
  /** Sends pending vectors again, after `sendVector` refused them. */
  retryVectors?(): void
  /** Resets the function and deasserts its interrupt. @returns a wait for the requests in flight; undefined if none */
  reset(): void | Pending
}

export interface PciBar {
  /** Size in bytes, a power of two. */
  readonly size: number
  readonly kind: 'memory32' | 'memory64' | 'io' | 'rom'
  readonly prefetchable: boolean
  /** Guest address that the driver or firmware assigned; 0 if unassigned. */
  readonly address: number
  /** Whether the function answers at `address`: its space is enabled in the command register, and an address is assigned. */
  readonly decoded: boolean
  /**
   * Serves accesses to the BAR. The bus decodes addresses and passes on only those that the function must answer.
   */
  readonly device: BusDevice
  /** Parts that a monitor can map into the guest, if any. */
  readonly mappable?: MappableParts | undefined
}

/** Parts of a BAR that are backed by a file. If they are mapped into the guest, accesses cause no exit. */
export interface MappableParts {
  readonly fd: number
  /** Offset of the BAR's first byte in the file, in bytes. */
  readonly offset: number
  /** Parts of the BAR in bytes: whole pages, in ascending order. */
  readonly areas: readonly { readonly offset: number; readonly size: number }[]
}

/** Bus of a function, as the function uses it. */
export interface PciBus {
  /** Sets the level of the function's interrupt pin. */
  setInterruptLine(asserted: boolean): void
  /** Sends an MSI-X message. MSI-X is not offered if the bus has neither `sendMessage` nor `sendVector`. */
  sendMessage?: (address: number, data: number) => void
  /**
   * Sends the message of a vector, on a bus that emulates the MSI-X table itself. The function's own table is then
   * unused.
   * @returns false if the vector is masked; it stays pending until `retryVectors`
   */
  sendVector?: (vector: number) => boolean
  /** Called when a BAR moved, or began or ended to be decoded. */
  barsChanged?: () => void
}
