import { elements, flag, record, type Shaped } from '../../../snapshot/shape.ts'
import type { DriverSession } from '../../../virtio/device.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { ByteQueue } from './byte-queue.ts'
import { receiveq } from './protocol.ts'

/** Maximum input that waits for buffers of the driver, in bytes. */
export const MAX_INPUT = 65536
/** Maximum output of one request, in bytes. The rest of a longer one is dropped, so that no request stalls the host. */
export const MAX_OUTPUT = 1 << 20

/** Shape of a saved port. */
export const PORT = record({
  added: flag,
  ready: flag,
  /** Last state that the driver received. */
  hostOpen: flag,
  guestOpen: flag,
  input: elements(Uint8Array, 0, MAX_INPUT),
  output: elements(Uint8Array, 0, MAX_OUTPUT),
})
type SavedPort = Shaped<typeof PORT>

const NOTHING = new Uint8Array(0)

/** The host's end of a port. */
export interface ConsolePortHost {
  /**
   * Takes output of the guest. The bytes are valid during the call only. A Linux guest stands still while output of a
   * console port waits, so keep that short.
   * @returns the number of bytes taken; if fewer than given, the rest waits for `resumeOutput`
   */
  write(bytes: Uint8Array): number
  /** Called when the guest opens or closes its end. */
  opened?(open: boolean): void
}

export interface ConsolePortOptions {
  /** Name of the port: /dev/virtio-ports/NAME in Linux. An empty name is not sent to the driver. */
  readonly name: string
  /** True for a text console (/dev/hvcN in Linux), false for a channel between programs. */
  readonly isConsole: boolean
  readonly host: ConsolePortHost
}

/**
 * Port of a console device: its pair of queues, and the bytes that wait in both directions.
 *
 *     port.start(session, true)                 // a driver started; its end of the port is open
 *     port.input(bytes)                         // to the driver, now or when it has buffers
 *     port.output()                             // from the driver to the host, until the host takes no more
 */
export class ConsolePort {
  readonly isConsole: boolean
  readonly name: Uint8Array
  /** True after PORT_ADD was sent. */
  added = false
  /** True after the driver sent PORT_READY. */
  ready = false
  hostOpen = true
  readonly #options: ConsolePortOptions
  readonly #index: number
  readonly #input = new ByteQueue(MAX_INPUT)
  #session: DriverSession | undefined
  #guestOpen = false
  /** True if input was refused because there was no room. */
  #refused = false
  /** Request of which the host did not take all output; the position of the rest, and its length in bytes. */
  #held: Chain | undefined
  #span = 0
  #at = 0
  #left = 0
  /** Output of a request that was returned when its queue stopped. It is written before the next request's. */
  #rest: Uint8Array = NOTHING
  #suspended = false
  /** True during `output`, because the host can call back. */
  #busy = false
  #bytesIn = 0
  #bytesOut = 0
  /** Output bytes that were dropped: past the limit of a request, or still waiting when the queue was stopped. */
  #dropped = 0
  /** Input buffers without a writable byte. */
  #empty = 0

  constructor(index: number, options: ConsolePortOptions) {
    this.#index = index
    this.#options = options
    this.isConsole = options.isConsole
    this.name = new TextEncoder().encode(options.name)
  }

  get guestOpen(): boolean {
    return this.#guestOpen
  }

  set guestOpen(open: boolean) {
    if (open === this.#guestOpen) return
    this.#guestOpen = open
    this.#options.host.opened?.(open)
  }

  start(session: DriverSession, open: boolean): void {
    this.#session = session
    this.guestOpen = open
  }

  /** Queues input, and delivers it while the driver has buffers. @returns the number of bytes taken */
  input(bytes: Uint8Array): number {
    let taken = 0
    if (this.#suspended) this.#refused = true
    while (taken < bytes.length && !this.#suspended) {
      const more = this.#input.put(bytes, taken)
      if (more === 0) {
        this.#refused = true
        break
      }
      taken += more
      this.deliver()
    }
    return taken
  }

  /** Delivers waiting input to the driver, while it has buffers and its end is open. */
  deliver(): void {
    const queue = this.#session?.queues[receiveq(this.#index)]
    if (!queue || !this.#guestOpen) return
    while (this.#input.length > 0) {
      const chain = queue.pop()
      if (!chain) break
      // Device-readable buffers are a mistake of the driver, and are ignored. @virtio 5.3.6.1
      if (chain.writableLength === 0) this.#empty++
      const written = this.#input.moveTo(chain.writer)
      this.#bytesIn += written
      queue.push(chain, written)
    }
    queue.publish()
  }

  /** Returns true once if input was refused and there is room again. */
  takeRoom(): boolean {
    if (!this.#refused || this.#suspended || this.#input.length === MAX_INPUT) return false
    this.#refused = false
    return true
  }

  /** Writes the output in the ring to the host, until the host takes no more. @returns true if it took any */
  output(): boolean {
    const queue = this.#transmitq
    if (!queue || this.#busy || this.#suspended) return false
    const before = this.#bytesOut
    this.#busy = true
    try {
      for (let chain = this.#next(queue); chain; chain = this.#next(queue)) {
        if (!this.#write(chain)) break
        this.#held = undefined
        queue.push(chain, 0)
      }
    } finally {
      this.#busy = false
      queue.publish()
    }
    return this.#bytesOut > before
  }

  /** Offers the output in the ring to the host. @returns true if the host did not take all of it */
  hasOutput(): boolean {
    if (!this.#held) this.output()
    return this.#held !== undefined || this.#rest.length > 0
  }

  /** Returns the request that waits for the host, and keeps a copy of its output. */
  releaseOutput(): void {
    const chain = this.#held
    const queue = this.#transmitq
    if (!chain || !queue) return
    this.#held = undefined
    this.#rest = this.#copyLeft(chain)
    queue.push(chain, 0)
    queue.publish()
  }

  suspend(): void {
    this.#suspended = true
  }

  resume(): void {
    this.#suspended = false
  }

  save(): SavedPort {
    const { added, ready, hostOpen, guestOpen } = this
    return { added, ready, hostOpen, guestOpen, input: this.#input.copy(), output: this.#rest }
  }

  /** Takes the state of another port, after `start`. */
  restore({ added, ready, guestOpen, input, output }: SavedPort): void {
    this.added = added
    this.ready = ready
    // Input that came before the restored state is newer.
    const later = this.#input.copy()
    this.#input.clear()
    this.#input.put(input)
    this.#input.put(later)
    this.#rest = output
    this.guestOpen = guestOpen
  }

  reset(): void {
    this.#session = undefined
    this.#held = undefined
    this.#dropped += this.#rest.length
    this.#rest = NOTHING
    this.added = false
    this.ready = false
    this.#input.clear()
    this.guestOpen = false
  }

  inspect(): Record<string, unknown> {
    return {
      name: this.#options.name,
      console: this.isConsole,
      ready: this.ready,
      guestOpen: this.#guestOpen,
      hostOpen: this.hostOpen,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      inputWaiting: this.#input.length,
      outputWaiting: this.#held ? this.#left : this.#rest.length,
      outputDropped: this.#dropped,
      emptyInputBuffers: this.#empty,
    }
  }

  get #transmitq(): DeviceQueue | undefined {
    return this.#session?.queues[receiveq(this.#index) + 1]
  }

  /** Returns the request whose output is next; undefined if output of an earlier request still waits. */
  #next(queue: DeviceQueue): Chain | undefined {
    return this.#writeRest() ? this.#hold(queue) : undefined
  }

  /** Writes the output of a returned request. @returns true if the host took all of it */
  #writeRest(): boolean {
    const rest = this.#rest
    if (rest.length === 0) return true
    const taken = Math.min(this.#options.host.write(rest), rest.length)
    // The host may have reset the device meanwhile.
    if (this.#rest !== rest) return false
    this.#bytesOut += taken
    this.#rest = rest.subarray(taken)
    return taken === rest.length
  }

  /** Copies the remaining output of a request. */
  #copyLeft({ spans: { lengths, offsets, regions } }: Chain): Uint8Array {
    const bytes = new Uint8Array(this.#left)
    let span = this.#span
    let at = this.#at
    for (let done = 0; done < bytes.length; span++, at = 0) {
      const start = offsets[span] + at
      const take = Math.min(lengths[span] - at, bytes.length - done)
      bytes.set(regions[span].u8.subarray(start, start + take), done)
      done += take
    }
    return bytes
  }

  /** Returns the held request, or else the next of the queue. */
  #hold(queue: DeviceQueue): Chain | undefined {
    if (this.#held) return this.#held
    const chain = queue.pop()
    if (!chain) return undefined
    this.#held = chain
    this.#span = 0
    this.#at = 0
    // Device-writable buffers are a mistake of the driver, and are ignored. @virtio 5.3.6.1
    this.#left = Math.min(chain.readableLength, MAX_OUTPUT)
    this.#dropped += chain.readableLength - this.#left
    return chain
  }

  /** Writes the rest of a held request to the host. @returns true if all was taken and the request is still held */
  #write(chain: Chain): boolean {
    const { lengths, offsets, regions } = chain.spans
    while (this.#left > 0) {
      const span = this.#span
      const length = Math.min(lengths[span] - this.#at, this.#left)
      const start = offsets[span] + this.#at
      const taken = Math.min(this.#options.host.write(regions[span].u8.subarray(start, start + length)), length)
      // The host may have reset the device within `write`.
      if (this.#held !== chain) return false
      this.#bytesOut += taken
      this.#left -= taken
      this.#at += taken
      if (taken < length) return false
      this.#span++
      this.#at = 0
    }
    return true
  }
}
