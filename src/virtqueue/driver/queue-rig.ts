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
  /** Number of descriptors. @default 64 */
  readonly size?: number
  readonly packed?: boolean
  readonly eventIdx?: boolean
  readonly inOrder?: boolean
  /** Whether INDIRECT_DESC is negotiated. @default true */
  readonly indirect?: boolean
  /** Guest memory, for example shared with other rigs. @default 16 MiB at address 0 */
  readonly memory?: GuestMemory
  /** Allocator in `memory`. @default all but the first 4096 bytes of its first region */
  readonly allocator?: GuestAllocator
}

/** Reply of the device to a request. */
export interface Reply {
  /** Number of bytes that the device reported as written. */
  readonly written: number
  /** Copy of each writable part. */
  readonly parts: readonly Uint8Array[]
  /** First `written` bytes of all parts together. */
  readonly bytes: Uint8Array
}

/** Request that was added to a queue. */
export interface Request {
  readonly token: number
  /** Reply of the device; undefined until it was collected. */
  reply: Reply | undefined
  /** Resolves with `reply`. */
  readonly replied: Promise<Reply>
}

interface Flight extends Request {
  readonly readable: readonly Part[]
  readonly writable: readonly Part[]
  readonly resolve: (reply: Reply) => void
}

/** Contents of a readable part, which are copied into guest memory. */
export type Bytes = Uint8Array | readonly number[]

/**
 * Both sides of a queue with guest memory, with which a test of a device acts as the driver.
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
 * The driver notifies only if the device wants it, and collects only when interrupted, so that missing notification
 * requests and missing interrupts fail a test. Use `driver` directly to deviate from that.
 */
export class QueueRig {
  readonly memory: GuestMemory
  readonly allocator: GuestAllocator
  readonly driver: QueueDriver
  readonly queue: QueueControl
  /** Number of interrupts from the device. */
  interrupts = 0
  /** Reason why the queue is broken; undefined if it is not. */
  broken: string | undefined
  readonly #flights = new Map<number, Flight>()

  constructor(options: QueueRigOptions = {}) {
    const { index = 0, size = 64, packed = false, eventIdx = false, inOrder = false, indirect = true } = options
    this.memory = options.memory ?? new GuestMemory([MemoryRegion.over(0, new Uint8Array(16 << 20))])
    // Not at address 0, so that an address field that a test forgot to set is not valid.
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

  /** Number of requests without a reply. */
  get pending(): number {
    return this.#flights.size
  }

  /**
   * Sends a request to a device that replies before `notify` returns. @returns the reply
   * @param notify notifies the device: `() => device.notify(0)`; not called if the device disabled notifications
   * @param readable contents of each device-readable part
   * @param writable length of each device-writable part, in bytes
   */
  send(notify: () => void, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Reply {
    const request = this.submit(notify, readable, writable, layout)
    if (!request.reply)
      throw new Error('the device did not reply within notify: use submit() and await request.replied')
    return request.reply
  }

  /** Sends a request. After the device's interrupt, `reply` is set and `replied` resolves. */
  submit(notify: () => void, readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Request {
    const request = this.add(readable, writable, layout)
    this.kick(notify)
    return request
  }

  /** Adds a request, which the device sees after `kick`. */
  add(readable: readonly Bytes[], writable: readonly number[] = [], layout?: Layout): Request {
    const inputs = readable.map((bytes) => this.#place(bytes))
    const outputs = writable.map((length) => this.#place(new Uint8Array(length)))
    const token = this.driver.add(inputs, outputs, layout)
    if (token < 0) throw new Error('too few unused descriptors: collect replies first, or use a larger queue')
    let resolve: (reply: Reply) => void = () => {}
    const replied = new Promise<Reply>((onReply) => {
      resolve = onReply
    })
    const flight: Flight = { token, readable: inputs, writable: outputs, resolve, replied, reply: undefined }
    this.#flights.set(token, flight)
    return flight
  }

  /** Makes added requests visible, and notifies the device if it wants that. */
  kick(notify: () => void): void {
    if (this.driver.kick()) notify()
  }

  /** Returns a copy of guest memory. */
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

  /** Handles an interrupt: collects used requests until none is left after interrupts are enabled again. */
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
    flight.resolve(flight.reply)
  }
}
