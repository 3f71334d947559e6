import type { MemoryRegion } from '../../memory/memory-region.ts'

/** One buffer of a request: guest address and length in bytes. */
export interface Part {
  readonly address: number
  readonly length: number
}

/** Guest addresses of the three areas of a queue. */
export interface RingAddresses {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/** Layout of a request: in the ring, in an indirect table, or (split only) first in the ring and then in a table. */
export type Layout = 'direct' | 'indirect' | 'mixed'

/**
 * The driver's side of a virtqueue, split or packed, with the steps of a guest kernel in the same order.
 *
 *     const token = driver.add([header, data], [status])
 *     if (driver.kick()) device.notify(0)
 *     ...
 *     while (driver.collect()) finish(driver.token, driver.written)
 *
 * No method allocates after warm-up, so that benchmarks can use it. Arguments are not checked: a hostile test can pass
 * invalid ones, or write to the rings itself.
 */
export interface QueueDriver {
  readonly size: number
  readonly addresses: RingAddresses
  /** Region that holds the rings, for tests that write to them. */
  readonly region: MemoryRegion
  /** Number of unused descriptors. */
  readonly free: number
  /** Number of requests added and not collected. */
  readonly pending: number
  /** Token of the request that `collect` took. */
  readonly token: number
  /** Number of bytes that the device reported as written to that request. */
  readonly written: number
  /**
   * Adds a request. The device sees it after `kick`.
   * @returns a token that identifies it until it is collected; -1 if there are too few unused descriptors
   */
  add(readable: readonly Part[], writable: readonly Part[], layout?: Layout): number
  /** Makes added requests visible. @returns whether the device must be notified */
  kick(): boolean
  /** Takes the next used request into `token` and `written`. @returns false if there is none */
  collect(): boolean
  /** Requests an interrupt for the next used request. @returns false if a request is already used: collect again */
  enableInterrupts(): boolean
  /** Suppresses interrupts while used requests are collected. */
  disableInterrupts(): void
}
