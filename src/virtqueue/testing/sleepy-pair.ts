import type { Chain } from '../chain.ts'
import type { Layout, Part } from '../driver/index.ts'
import { BarePair, type PairOptions } from './bare-pair.ts'

/** Shape of a request. */
export interface Shape {
  /** Length of each device-readable part, in bytes. */
  readonly readable: readonly number[]
  /** Length of each device-writable part, in bytes. */
  readonly writable: readonly number[]
  readonly layout: Layout
  /** Maximum number of bytes that the device writes. */
  readonly limit: number
}

interface Sent {
  readonly number: number
  readonly inputs: readonly Part[]
  readonly outputs: readonly Part[]
  readonly limit: number
  readonly expected: Uint8Array
}

const UNTOUCHED = 0xee

/**
 * Driver that sleeps until it is interrupted, and device that sleeps until it is notified, executed in single steps.
 * The test chooses the order of steps, and with it how driver and device race.
 *
 * The device copies readable bytes to writable parts. Every reply is checked: its length, its bytes, the bytes after
 * them, and its order with IN_ORDER.
 */
export class SleepyPair extends BarePair {
  notifications = 0
  /** Number of times that driver and device fell asleep. */
  driverSleeps = 0
  deviceSleeps = 0
  readonly #options: PairOptions
  readonly #sent = new Map<number, Sent>()
  readonly #held: { readonly chain: Chain; readonly written: number }[] = []
  #added = 0
  #collected = 0
  #shown = true
  #published = true
  /** Number of interrupts at the driver's last wake-up. */
  #noticed = 0
  /** A device is notified once when it is activated. */
  #notified = true
  #driverAwake = false
  #deviceAwake = false

  constructor(options: PairOptions) {
    super(options)
    this.#options = options
    this.driver.enableInterrupts()
    this.driverSleeps++
  }

  /** Whether all requests were collected. */
  get isIdle(): boolean {
    return this.#sent.size === 0 && this.#held.length === 0 && this.driver.free === this.driver.size
  }

  /**
   * Step of the driver: adds a request that the device does not see before `kick`.
   * @returns false if the ring is full
   */
  add(shape: Shape): boolean {
    const number = this.#added
    const layout = this.#options.indirect === false ? 'direct' : shape.layout
    const inputs = shape.readable.map((length, part) => this.#place(length, number * 7 + part))
    const outputs = shape.writable.map((length) => this.#place(length, -1))
    const token = this.driver.add(inputs, outputs, layout)
    if (token < 0) {
      this.#free([...inputs, ...outputs])
      return false
    }
    const whole = inputs.flatMap((part) => [...this.bytes(part)])
    const room = outputs.reduce((sum, part) => sum + part.length, 0)
    const expected = Uint8Array.from(whole.slice(0, Math.min(room, shape.limit)))
    expect(!this.#sent.has(token), `token ${token} is in use twice`)
    this.#sent.set(token, { number, inputs, outputs, limit: shape.limit, expected })
    this.#added++
    this.#shown = false
    return true
  }

  /**
   * Step of the driver: makes added requests visible and notifies the device if it wants that.
   * @returns false if none
   */
  kick(): boolean {
    if (this.#shown) return false
    this.#shown = true
    if (this.driver.kick()) {
      this.notifications++
      this.#notified = true
    }
    return true
  }

  /** Step of the device: wakes up, pops a chain or falls asleep. @returns false while it sleeps */
  stepDevice(): boolean {
    if (!this.#deviceAwake) {
      if (!this.#notified) return false
      this.#notified = false
      this.#deviceAwake = true
      return true
    }
    const chain = this.queue.pop()
    if (chain) {
      const sent = this.#sent.get(chain.id)
      expect(sent !== undefined, `chain ${chain.id} was never offered`)
      this.#held.push({ chain, written: chain.reader.copyTo(chain.writer, sent.limit) })
    } else {
      this.#deviceAwake = false
      this.deviceSleeps++
    }
    return true
  }

  /** Step of the device: pushes one of the chains that it holds. @returns false if it holds none */
  complete(which: number): boolean {
    if (this.#held.length === 0) return false
    const [done] = this.#held.splice(which % this.#held.length, 1)
    this.queue.push(done.chain, done.written)
    this.#published = false
    return true
  }

  publish(): boolean {
    if (this.#published) return false
    this.#published = true
    this.queue.publish()
    return true
  }

  /** Step of the driver: wakes up, collects a request or falls asleep. @returns false while it sleeps */
  stepDriver(): boolean {
    if (!this.#driverAwake) {
      if (this.#noticed === this.interrupts) return false
      this.#noticed = this.interrupts
      this.#driverAwake = true
      this.driver.disableInterrupts()
    } else if (this.driver.collect()) {
      this.#check(this.driver.token, this.driver.written)
    } else {
      this.driverSleeps++
      if (this.driver.enableInterrupts()) this.#driverAwake = false
      else this.driver.disableInterrupts()
    }
    return true
  }

  /** Performs steps until no step is possible. */
  runUntilIdle(): void {
    while (this.kick() || this.stepDevice() || this.complete(0) || this.publish() || this.stepDriver());
  }

  #check(token: number, written: number): void {
    const sent = this.#sent.get(token)
    expect(sent !== undefined, `request ${token} was not in flight`)
    this.#sent.delete(token)
    expect(!this.#options.inOrder || sent.number === this.#collected, `request ${sent.number} is out of order`)
    this.#collected++
    expect(written === sent.expected.length, `${written} bytes written, not ${sent.expected.length}`)
    const bytes = Uint8Array.from(sent.outputs.flatMap((part) => [...this.bytes(part)]))
    const whole = new Uint8Array(bytes.length).fill(UNTOUCHED)
    whole.set(sent.expected)
    expect(
      bytes.every((byte, i) => byte === whole[i]),
      `request ${sent.number} received wrong bytes`,
    )
    this.#free([...sent.inputs, ...sent.outputs])
  }

  #place(length: number, first: number): Part {
    const part = this.part(length)
    const bytes = this.bytes(part)
    if (first < 0) bytes.fill(UNTOUCHED)
    else for (let i = 0; i < length; i++) bytes[i] = first + i
    return part
  }

  #free(parts: readonly Part[]): void {
    for (const part of parts) this.allocator.free(part.address)
  }
}

function expect(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}
