import { GuestMemory } from '../../memory/guest-memory.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { createDeviceQueue } from '../create-device-queue.ts'
import type { QueueControl } from '../device-queue.ts'
import { GuestAllocator } from './guest-allocator.ts'
import { PackedDriver } from './packed-driver.ts'
import type { Layout, Part, QueueDriver } from './queue-driver.ts'
import { SplitDriver } from './split-driver.ts'

export interface QueueRigOptions {
  readonly index?: number
  /** Descriptors; 64 unless told. */
  readonly size?: number
  readonly packed?: boolean
  readonly eventIdx?: boolean
  readonly inOrder?: boolean
  /** Whether indirect descriptors are negotiated (default) or not. */
  readonly indirect?: boolean
  /** Memory shared with other rigs, and who hands it out; 16 MiB of its own unless told. */
  readonly memory?: GuestMemory
  readonly allocator?: GuestAllocator
}

/** What a device answered. */
export interface Reply {
  /** Bytes the device says it wrote. */
  readonly written: number
  /** A copy of each writable part, whole. */
  readonly parts: readonly Uint8Array[]
  /** The first `written` bytes of them all. */
  readonly bytes: Uint8Array
}

/** A request on its way. */
export interface Request {
  readonly token: number
  /** What came back, once it did. */
  reply: Reply | undefined
  /** The same, for who waits. */
  readonly replied: Promise<Reply>
}

interface Flight extends Request {
  readonly readable: readonly Part[]
  readonly writable: readonly Part[]
  readonly settle: (reply: Reply) => void
}

/** A request's readable parts: bytes, copied into guest memory. */
export type Bytes = Uint8Array | readonly number[]

/**
 * A queue with both its sides and the guest memory between them: what a test of a device needs to play the driver.
 *
 *     const rig = new QueueRig({ size: 8, packed: true })
 *     const serve = () => {
 *       for (let chain = rig.queue.pop(); chain; chain = rig.queue.pop()) {
 *         rig.queue.push(chain, chain.reader.copyTo(chain.writer))
 *       }
 *       rig.queue.publish()
 *     }
 *     const reply = rig.send(serve, [[1, 2], [3]], [8])
 *     reply.bytes                                  // 1, 2, 3
 *
 * The driver behaves as a good one does: it notifies only when the device wants it and collects only when interrupted,
 * so that a device that forgets either is found out. `driver` is there for those that are not so good.
 */
export class QueueRig {
  readonly memory: GuestMemory
  readonly allocator: GuestAllocator
  readonly driver: QueueDriver
  readonly queue: QueueControl
  /** Interrupts the device raised. */
  interrupts = 0
  /** Why the queue broke, if it did. */
  broken: string | undefined
  readonly #flights = new Map<number, Flight>()

  constructor(options: QueueRigOptions = {}) {
    const { index = 0, size = 64, packed = false, eventIdx = false, inOrder = false, indirect = true } = options
    this.memory = options.memory ?? new GuestMemory([MemoryRegion.over(0, new Uint8Array(16 << 20))])
    // Not from address 0, so that a forgotten address is not a good one.
    this.allocator = options.allocator ?? new GuestAllocator(this.memory.regions[0], 4096)
    const Driver = packed ? PackedDriver : SplitDriver
    this.driver = new Driver(this.allocator, { size, eventIdx, inOrder })
    this.queue = createDeviceQueue({
      index,
      size,
      packed,
      eventIdx,
      inOrder,
      indirect,
      memory: this.memory,
      ...this.driver.addresses,
      interrupt: () => {
        this.interrupts++
        this.#collect()
      },
      onBroken: (reason) => {
        this.broken = reason
      },
    })
  }

  /** Requests without an answer. */
  get pending(): number {
    return this.#flights.size
  }

  /**
   * Sends a request and returns its answer, from a device that answers before `notify` returns.
   * @param notify tells the device: `() => device.notify(0)`; not called where the device asked for no notification
   * @param readable what the device reads, part by part
   * @param writable lengths of the parts it may write
   */
  send(notify: () => void, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Reply {
    const request = this.submit(notify, readable, writable, layout)
    if (!request.reply) throw new Error('the device has not answered: await request.replied of submit() instead')
    return request.reply
  }

  /** Sends a request; the answer is in `reply` when the device interrupted, and `replied` resolves with it. */
  submit(notify: () => void, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Request {
    const request = this.add(readable, writable, layout)
    this.kick(notify)
    return request
  }

  /** Adds a request that the device does not see before `kick`. */
  add(readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Request {
    const inputs = readable.map((bytes) => this.#place(bytes))
    const outputs = writable.map((length) => this.#place(new Uint8Array(length)))
    const token = this.driver.add(inputs, outputs, layout)
    if (token < 0) throw new Error('no descriptors left: collect replies first, or use a longer queue')
    let settle: (reply: Reply) => void = () => {}
    const replied = new Promise<Reply>((resolve) => {
      settle = resolve
    })
    const flight: Flight = { token, readable: inputs, writable: outputs, settle, replied, reply: undefined }
    this.#flights.set(token, flight)
    return flight
  }

  /** Shows the device what was added, and notifies it if it wants that. */
  kick(notify: () => void): void {
    if (this.driver.kick()) notify()
  }

  /** A copy of guest memory. */
  peek(address: number, length: number): Uint8Array {
    const region = this.allocator.region
    return region.u8.slice(address - region.base, address - region.base + length)
  }

  poke(address: number, bytes: Bytes): void {
    const region = this.allocator.region
    region.u8.set(bytes, address - region.base)
  }

  #place(bytes: Bytes): Part {
    const address = this.allocator.allocate(bytes.length)
    this.poke(address, bytes)
    return { address, length: bytes.length }
  }

  /** The interrupt handler: all that is used, then interrupts on again, then another look. */
  #collect(): void {
    do {
      this.driver.disableInterrupts()
      while (this.driver.collect()) this.#finish(this.driver.token, this.driver.written)
    } while (!this.driver.enableInterrupts())
  }

  #finish(token: number, written: number): void {
    const flight = this.#flights.get(token)
    if (!flight) return
    this.#flights.delete(token)
    const parts = flight.writable.map((part) => this.peek(part.address, part.length))
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    for (const part of [...flight.readable, ...flight.writable]) this.allocator.free(part.address)
    flight.reply = { written, parts, bytes: whole.subarray(0, written) }
    flight.settle(flight.reply)
  }
}
