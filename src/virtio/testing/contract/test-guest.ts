import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import type { Pending } from '../../../pending/pending.ts'
import { decodeState, encodeState } from '../../../snapshot/state-codec.ts'
import {
  type Bytes,
  GuestAllocator,
  PackedDriver,
  type QueueDriver,
  SplitDriver,
} from '../../../virtqueue/driver/index.ts'
import type { Layout, Part } from '../../../virtqueue/driver/queue-driver.ts'
import type { VirtioDevice } from '../../device.ts'
import { DeviceState } from '../../device-state.ts'
import { Feature, featureSet, hasFeature } from '../../feature.ts'
import { QueueArea } from '../../queue-state.ts'
import { Status } from '../../status.ts'

const REQUEST_BYTES = 1 << 20
const PAGE_BYTES = 1 << 16
const PAGE = 4096
/** Guest memory for the traffic: rings and requests are elsewhere. */
export const TRAFFIC_PAGES: Part = { address: REQUEST_BYTES, length: PAGE_BYTES }
/** Size of the queues: small, so that they fill and wrap soon. */
const MAX_QUEUE_SIZE = 16

/** Device of a test, and the host side that it is built on. */
export interface Subject<D extends VirtioDevice, H> {
  readonly device: D
  readonly host: H
}

/** Builds a device, on a new host, or on the host of another device that it replaces. */
export type MakeDevice<D extends VirtioDevice, H> = (host?: H) => Subject<D, H>

/** Answer to a request. */
export interface Answer {
  /** Number of bytes that the device reported as written. */
  readonly written: number
  /** Those bytes. */
  readonly bytes: Uint8Array
}

export interface RequestOptions {
  readonly layout?: Layout
  /** True if the device answers when it has data: the request may stay unanswered. @default false */
  readonly waits?: boolean
  /** Checks the answer. @throws if it is wrong */
  readonly check?: (answer: Answer) => void
}

interface TestRequest extends RequestOptions {
  readonly number: number
  readonly queue: number
  readonly readable: readonly Bytes[]
  readonly writable: readonly number[]
  inputs: readonly Part[]
  outputs: readonly Part[]
}

/**
 * Guest with a driver for all queues of a device, and the host side of the device. The device can be replaced by a restored
 * one at any time.
 *
 * The driver notifies only if the device wants it, and collects only when it was interrupted.
 */
export class TestGuest<D extends VirtioDevice, H> {
  device: D
  readonly host: H
  state: DeviceState
  memory: GuestMemory
  /** Answers by number of the request; undefined if there is none. */
  readonly answers: (Answer | undefined)[] = []
  /** True if answers are not checked. */
  hostile = false
  /** Lines that the device logged. */
  readonly logged: string[] = []
  readonly #make: MakeDevice<D, H>
  readonly #ringFeatures: bigint
  readonly #finish: (host: H, device: D) => void
  /** Bytes of guest memory: buffers of requests and rings, then pages. */
  readonly #bytes: Uint8Array
  #buffers: GuestAllocator
  #drivers: (QueueDriver | undefined)[] = []
  /** Requests in the rings, by queue and token. */
  #flights: Map<number, TestRequest>[] = []
  /** Requests that wait for descriptors, by queue. */
  #backlogs: TestRequest[][] = []
  /** Queues with an interrupt that the driver did not handle. */
  readonly #interrupted = new Set<number>()
  readonly #batches: (() => void)[] = []

  /**
   * @param ringFeatures ring features that the driver accepts
   * @param finish completes what the host has under way
   */
  constructor(
    make: MakeDevice<D, H>,
    ringFeatures: bigint,
    finish: (host: H, device: D) => void,
    bytes = new Uint8Array(REQUEST_BYTES + PAGE_BYTES),
  ) {
    this.#make = make
    this.#ringFeatures = ringFeatures
    this.#finish = finish
    this.#bytes = bytes
    this.memory = new GuestMemory([MemoryRegion.over(0, bytes)])
    const { device, host } = make()
    this.device = device
    this.host = host
    this.state = this.#connect(device)
    this.#buffers = this.#allocator()
  }

  /** Returns a guest with a copy of the memory, and a new device on a new host. */
  copy(): TestGuest<D, H> {
    return new TestGuest(this.#make, this.#ringFeatures, this.#finish, this.#bytes.slice())
  }

  /** Performs all steps from reset to DRIVER_OK with all features of the device, in empty memory. */
  start(): void {
    const { state } = this
    const features = this.device.features | this.#ringFeatures | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
    this.#buffers = this.#allocator()
    this.#bytes.fill(0)
    this.answers.length = 0
    this.#interrupted.clear()
    this.#flights = state.queues.map(() => new Map())
    this.#backlogs = state.queues.map(() => [])
    state.writeStatus(Status.ACKNOWLEDGE | Status.DRIVER)
    for (let word = 0; word < 4; word++) {
      state.acceptFeatures(word, Number((features >> BigInt(32 * word)) & 0xffff_ffffn))
    }
    state.writeStatus(state.status | Status.FEATURES_OK)
    if ((state.status & Status.FEATURES_OK) === 0) throw new Error(`features refused: ${this.logged.at(-1)}`)
    this.#drivers = state.queues.map((_, index) => this.setUpQueue(index))
    state.writeStatus(state.status | Status.DRIVER_OK)
    this.turn()
  }

  /** Creates the rings of a queue and enables it. */
  setUpQueue(index: number): QueueDriver {
    const { state } = this
    const packed = hasFeature(this.#ringFeatures, Feature.RING_PACKED)
    state.configurableQueue(index)?.setSize(Math.min(MAX_QUEUE_SIZE, state.queues[index].maxSize), packed)
    const Driver = packed ? PackedDriver : SplitDriver
    const driver = new Driver(this.#buffers, {
      size: state.queues[index].size,
      eventIdx: hasFeature(this.#ringFeatures, Feature.EVENT_IDX),
      inOrder: hasFeature(this.#ringFeatures, Feature.IN_ORDER),
    })
    const words = state.configurableQueue(index)?.addressWords
    words?.set([driver.addresses.descriptorArea], QueueArea.DESCRIPTOR)
    words?.set([driver.addresses.driverArea], QueueArea.DRIVER)
    words?.set([driver.addresses.deviceArea], QueueArea.DEVICE)
    state.enableQueue(index)
    return driver
  }

  /** Sends a request, when the queue has descriptors for it. */
  request(
    queue: number,
    readable: readonly Bytes[],
    writable: readonly number[] = [],
    options: RequestOptions = {},
  ): void {
    const number = this.answers.length
    this.answers.push(undefined)
    this.#backlogs[queue].push({ ...options, number, queue, readable, writable, inputs: [], outputs: [] })
    this.#pump(queue)
  }

  /** Adds descriptors to a queue without checks, and makes them visible. */
  forge(queue: number, readable: readonly Part[], writable: readonly Part[], layout: Layout): void {
    const driver = this.#drivers[queue]
    driver?.add(readable, writable, layout)
    if (driver?.kick()) this.state.notify(queue)
  }

  /** Number of requests that wait for an answer, without those that may. */
  get unanswered(): number {
    const requests = [...this.#flights.flatMap((flights) => [...flights.values()]), ...this.#backlogs.flat()]
    return requests.filter(({ waits }) => !waits).length
  }

  /** Number of unanswered requests in a queue. */
  pending(queue: number): number {
    return this.#flights[queue].size + this.#backlogs[queue].length
  }

  /** Writes to guest memory. */
  poke(address: number, bytes: Bytes): void {
    this.#bytes.set(bytes, address)
  }

  /** Ends batches and handles interrupts until there are none. */
  turn(): void {
    for (let turns = 0; this.#batches.length > 0 || this.#interrupted.size > 0; turns++) {
      if (turns === 10_000) throw new Error('the device interrupts without end')
      for (const publish of this.#batches.splice(0)) publish()
      for (const queue of [...this.#interrupted]) {
        this.#interrupted.delete(queue)
        this.#collect(queue)
      }
    }
  }

  /** Has the host finish, until all requests are answered that must be. */
  finish(): void {
    for (let rounds = 0; rounds < 100; rounds++) {
      const before = this.unanswered
      this.#finish(this.host, this.device)
      this.turn()
      if (this.unanswered === before && rounds > 1) return
    }
  }

  /** Waits, while the host finishes. */
  wait(wait: void | Pending): void {
    let done = !wait
    wait?.onFinish(() => {
      done = true
    })
    for (let rounds = 0; !done && rounds < 100; rounds++) {
      this.#finish(this.host, this.device)
      for (const publish of this.#batches.splice(0)) publish()
    }
    if (!done) throw new Error('the device does not stop, although its host finished')
  }

  /** Resets the device. */
  reset(): void {
    this.state.writeStatus(0)
    this.wait(this.state.reset())
    if (this.state.status !== 0) throw new Error(`status ${this.state.status} after a reset`)
  }

  /** Suspends the device. @returns its encoded state */
  suspend(): Uint8Array {
    this.wait(this.state.suspend())
    return encodeState(this.state.save()).slice()
  }

  /** Ends a suspension. */
  resume(): void {
    this.state.resume()
    this.turn()
  }

  /** Replaces the device by another one on the same host, which restores its state. */
  replace(): void {
    const saved = this.suspend()
    const { device } = this.#make(this.host)
    this.device = device
    this.state = this.#connect(device)
    this.wait(this.state.suspend())
    this.state.restore(decodeState(saved))
    const again = encodeState(this.state.save())
    if (again.length !== saved.length || again.some((byte, i) => byte !== saved[i])) {
      throw new Error('a device that was just restored saves another state')
    }
    this.resume()
  }

  /** Moves guest memory to other regions at the same addresses, for which queues stop and continue. */
  remap(): void {
    const half = this.#bytes.length / 2
    const split = this.memory.regions.length === 1
    this.memory.replace(
      split
        ? [MemoryRegion.over(0, this.#bytes.subarray(0, half)), MemoryRegion.over(half, this.#bytes.subarray(half))]
        : [MemoryRegion.over(0, this.#bytes)],
    )
    this.wait(this.state.memoryChanged(true))
    this.turn()
  }

  /** Reasons of exceptions that the device threw. */
  get exceptions(): readonly string[] {
    return this.logged.filter((line) => /needs a reset: \w+ failed: /.test(line))
  }

  #connect(device: D): DeviceState {
    return new DeviceState(device, {
      memory: this.memory,
      queueInterrupt: (queue) => this.#interrupted.add(queue),
      configInterrupt: () => {},
      queueReset: () => {},
      deviceReset: () => {},
      batchEnds: (publish) => this.#batches.push(publish),
      log: (line) => this.logged.push(line),
    })
  }

  #allocator(): GuestAllocator {
    return new GuestAllocator(MemoryRegion.over(0, this.#bytes), PAGE, REQUEST_BYTES)
  }

  #collect(queue: number): void {
    const driver = this.#drivers[queue]
    // A restored device interrupts the driver of the guest it comes from.
    if (!driver) return
    // A driver whose ring was overwritten may find used chains without end.
    let left = 4 * driver.size
    do {
      driver.disableInterrupts()
      while (left-- > 0 && driver.collect()) this.#answer(queue, driver.token, driver.written)
    } while (left > 0 && !driver.enableInterrupts())
    this.#pump(queue)
  }

  #answer(queue: number, token: number, written: number): void {
    const request = this.#flights[queue].get(token)
    if (!request) return
    this.#flights[queue].delete(token)
    const parts = request.outputs.map(({ address, length }) => this.#bytes.slice(address, address + length))
    const whole = Uint8Array.from(parts.flatMap((part) => [...part]))
    for (const { address } of [...request.inputs, ...request.outputs]) this.#buffers.free(address)
    const answer = { written, bytes: whole.subarray(0, written) }
    this.answers[request.number] = answer
    if (!this.hostile) request.check?.(answer)
  }

  /** Adds requests that wait, as far as there are descriptors. */
  #pump(queue: number): void {
    const driver = this.#drivers[queue]
    if (!driver) return
    const backlog = this.#backlogs[queue]
    for (let next = backlog[0]; next; next = backlog[0]) {
      const { readable, writable, layout } = next
      // One more for the layouts with a table.
      if (driver.free < readable.length + writable.length + 1) break
      next.inputs = readable.map((bytes) => this.#place(bytes))
      next.outputs = writable.map((length) => this.#place(new Uint8Array(length)))
      const token = driver.add(next.inputs, next.outputs, layout)
      if (token < 0) break
      this.#flights[queue].set(token, next)
      backlog.shift()
    }
    if (driver.kick()) this.state.notify(queue)
  }

  #place(bytes: Bytes): Part {
    const address = this.#buffers.allocate(Math.max(1, bytes.length))
    this.poke(address, bytes)
    return { address, length: bytes.length }
  }
}
