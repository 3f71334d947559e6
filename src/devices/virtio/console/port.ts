import { elements, flag, record, type Shaped } from '../../../snapshot/shape.ts'
import type { DriverSession } from '../../../virtio/device.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { ByteQueue } from './byte-queue.ts'
import { receiveq } from './protocol.ts'

/** Input that waits for the guest to have room, in bytes. */
export const MAX_INPUT = 65536
/** Output of one request, in bytes: what a longer one has beyond it is dropped, so that no request stalls the host. */
export const MAX_OUTPUT = 1 << 20

/** Shape of a saved port. */
export const PORT = record({
  added: flag,
  ready: flag,
  /** As the driver knows it. */
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
   * Output of the guest; the bytes are valid during the call only. Returns how many were taken; where fewer, the rest
   * waits for `resumeOutput`. A Linux guest stands still while output of a console port waits, so keep that short.
   */
  write(bytes: Uint8Array): number
  /** The guest opened or closed its end. */
  opened?(open: boolean): void
}

export interface ConsolePortOptions {
  /** Name of the port, in Linux /dev/virtio-ports/NAME. An empty one is not sent. */
  readonly name: string
  /** A text console (Linux: /dev/hvcN), rather than a channel between programs. */
  readonly isConsole: boolean
  readonly host: ConsolePortHost
}

/**
 * One port: its pair of queues, and what waits on either side.
 *
 *     port.start(session, true)                 // the driver is there; whether its end counts as open
 *     port.input(bytes)                         // to the driver now, or when it has room
 *     port.output()                             // from the driver to the host, until one of them stops
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
  /** Input was refused for want of room. */
  #refused = false
  /** A request whose output is not all taken yet, where it goes on, and the bytes left. */
  #held: Chain | undefined
  #span = 0
  #at = 0
  #left = 0
  /** Output of a request that was returned when its queue stopped: the host takes it before that of the next one. */
  #rest: Uint8Array = NOTHING
  #suspended = false
  /** Output is being handed over: the host may call back. */
  #busy = false
  #bytesIn = 0
  #bytesOut = 0
  /** Bytes of output that were dropped: past the limit of a request, or cut off by a reset. */
  #dropped = 0
  /** Buffers for input without room for a byte. */
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

  /** @returns the bytes taken */
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

  /** Gives the driver the input that waits, as far as it has room and its end is open. */
  deliver(): void {
    const queue = this.#session?.queues[receiveq(this.#index)]
    if (!queue || !this.#guestOpen) return
    while (this.#input.length > 0) {
      const chain = queue.pop()
      if (!chain) break
      // A driver that sends readable parts here is wrong, but they cost nothing. @virtio 5.3.6.1
      if (chain.writableLength === 0) this.#empty++
      const written = this.#input.moveTo(chain.writer)
      this.#bytesIn += written
      queue.push(chain, written)
    }
    queue.publish()
  }

  /** Whether input was refused and there is room again; asking answers for the refusal. */
  takeRoom(): boolean {
    if (!this.#refused || this.#suspended || this.#input.length === MAX_INPUT) return false
    this.#refused = false
    return true
  }

  /** Hands the host the output in the ring, until it takes no more. @returns whether it took any */
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

  /** Whether output is left when the host was offered what is in the ring. */
  hasOutput(): boolean {
    if (!this.#held) this.output()
    return this.#held !== undefined || this.#rest.length > 0
  }

  /** Gives back the request that waits for the host, and keeps a copy of its output. */
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

  /** The request whose output is due, after that of a request before it. */
  #next(queue: DeviceQueue): Chain | undefined {
    return this.#writeRest() ? this.#hold(queue) : undefined
  }

  /** @returns whether all of it was taken */
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

  /** Copies what is left of the output of a request. */
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

  /** The request whose output is due: the one begun, or else the next. */
  #hold(queue: DeviceQueue): Chain | undefined {
    if (this.#held) return this.#held
    const chain = queue.pop()
    if (!chain) return undefined
    this.#held = chain
    this.#span = 0
    this.#at = 0
    // A driver that sends writable parts here is wrong, but they cost nothing. @virtio 5.3.6.1
    this.#left = Math.min(chain.readableLength, MAX_OUTPUT)
    this.#dropped += chain.readableLength - this.#left
    return chain
  }

  /** @returns whether all of it was taken, and the request is still the one held */
  #write(chain: Chain): boolean {
    const { lengths, offsets, regions } = chain.spans
    while (this.#left > 0) {
      const span = this.#span
      const length = Math.min(lengths[span] - this.#at, this.#left)
      const start = offsets[span] + this.#at
      const taken = Math.min(this.#options.host.write(regions[span].u8.subarray(start, start + length)), length)
      // The host may have reset the device meanwhile.
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
