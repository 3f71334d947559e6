import type { MemoryRegion } from '../../memory/memory-region.ts'

/** One piece of a request, as the driver describes it to the device. */
export interface Part {
  readonly address: number
  readonly length: number
}

/** Guest addresses of the three areas, as the transport is told them. */
export interface RingAddresses {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/** How a request is laid out: in the ring, in a table of its own, or (split only) begun in the ring and ended in one. */
export type Layout = 'direct' | 'indirect' | 'mixed'

/**
 * The driver's side of a virtqueue, split or packed: what a guest's kernel would do, in the same order.
 *
 *     const token = driver.add([header, data], [status])
 *     if (driver.kick()) device.notify(0)
 *     ...
 *     while (driver.collect()) finish(driver.token, driver.written)
 *
 * Nothing here allocates once it is warm, so that benchmarks can use it. What it is given is not checked: a test that
 * wants to be hostile gives it nonsense, or writes to the rings itself.
 */
export interface QueueDriver {
  readonly size: number
  readonly addresses: RingAddresses
  /** Where the rings lie, for tests that write to them. */
  readonly region: MemoryRegion
  /** Descriptors not in use. */
  readonly free: number
  /** Requests added and not collected. */
  readonly pending: number
  /** After `collect`: which request was used, and the bytes the device says it wrote. */
  readonly token: number
  readonly written: number
  /**
   * Adds a request, not yet visible to the device. @returns what names it until it is collected, or -1 where there are
   * too few descriptors left
   */
  add(readable: readonly Part[], writable: readonly Part[], layout?: Layout): number
  /** Makes what was added visible. @returns whether the device wants to be notified */
  kick(): boolean
  /** Takes the next used request into `token` and `written`. @returns false where there is none */
  collect(): boolean
  /** Asks for an interrupt at the next used request. @returns false where there already is one: collect again */
  enableInterrupts(): boolean
  /** Asks for no interrupts, as long as there is something to collect anyway. */
  disableInterrupts(): void
}
