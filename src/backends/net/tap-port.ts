import { getSystemErrorName } from 'node:util'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import { Interest, type Reactor } from '../../host/linux/reactor/reactor.ts'
import { Readiness } from '../../host/linux/reactor/readiness.ts'
import type { SpanList } from '../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../services/network-port.ts'
import { SpanVectors } from './span-vectors.ts'
import { attachQueue, bringUp, interfaceMtu, openTapQueue, probeOffloads, setTapOffloads } from './tap-interface.ts'

export interface TapPortOptions {
  /** The interface, which comes to be if there is none; with `%d`, the kernel gives it a number. */
  readonly name: string
  /** Number of queue pairs. An existing interface must have been created with multi_queue for several. @default 1 */
  readonly pairs?: number
  /** Takes a line about what does not work. */
  readonly log?: (line: string) => void
}

/** Counts since the port was opened. */
export interface TapCounters {
  sent: number
  received: number
  /** Packets the kernel refused. */
  refused: number
}

/**
 * A TAP interface of the host as a network device's port: the guest is a station on whatever network the host gives it to.
 *
 *     const port = TapPort.open({ name: 'tap0' }, reactor)
 *     const device = new NetDevice(port)
 *
 * Packets move between guest memory and the kernel in one system call each, with no copy of ours. Checksums and
 * segmentation are the kernel's, or the guest's at the other end. Which of several queues a packet comes in on the kernel
 * learns from where the guest sends packets of the same flow.
 */
export class TapPort implements NetworkPort {
  readonly name: string
  readonly pairs: number
  readonly mtu: number
  readonly speed = undefined
  readonly transmitOffloads: number
  readonly receiveOffloads: number
  readonly counters: TapCounters = { sent: 0, received: 0, refused: 0 }
  readonly #queues: readonly Descriptor[]
  readonly #readable: readonly Readiness[]
  readonly #writable: readonly Readiness[]
  readonly #vectors = new SpanVectors()
  readonly #log: (line: string) => void
  #listener: PortListener | undefined
  /** Queues in use: the first ones. */
  #attached: number
  #linkUp = true
  #lastError: string | undefined

  /** @throws {NetworkPortError} in one line what is wrong with the interface, and what to do */
  static open(options: TapPortOptions, reactor: Reactor): TapPort {
    const { pairs = 1, log = () => {} } = options
    const queues: Descriptor[] = []
    let { name } = options
    try {
      for (let pair = 0; pair < pairs; pair++) {
        const opened = openTapQueue(name, pairs > 1)
        queues.push(opened.queue)
        name = opened.name
      }
      if (!bringUp(name)) log(`interface ${name} is down: as root: ip link set ${name} up`)
      return new TapPort(name, queues, reactor, log)
    } catch (error) {
      for (const queue of queues) queue.close()
      throw error
    }
  }

  private constructor(name: string, queues: readonly Descriptor[], reactor: Reactor, log: (line: string) => void) {
    this.name = name
    this.pairs = queues.length
    this.mtu = interfaceMtu(name)
    this.#queues = queues
    this.#attached = queues.length
    this.#log = log
    this.transmitOffloads = probeOffloads(queues[0])
    this.receiveOffloads = this.transmitOffloads
    this.#readable = queues.map(
      ({ fd }, pair) => new Readiness(reactor, fd, Interest.READABLE, () => this.#listener?.readable(pair)),
    )
    this.#writable = queues.map(
      ({ fd }, pair) => new Readiness(reactor, fd, Interest.WRITABLE, () => this.#listener?.writable(pair)),
    )
  }

  get linkUp(): boolean {
    return this.#linkUp
  }

  attach(listener: PortListener): void {
    this.#listener = listener
  }

  setPairs(count: number): boolean {
    while (this.#attached > count) {
      if (!attachQueue(this.#queues[this.#attached - 1], false)) return false
      this.#readable[--this.#attached].close()
    }
    while (this.#attached < count) {
      if (!attachQueue(this.#queues[this.#attached], true)) return false
      this.#attached++
    }
    return true
  }

  setReceiveOffloads(offloads: number): boolean {
    return setTapOffloads(this.#queues[0], offloads)
  }

  transmit(pair: number, packet: SpanList): boolean {
    if (!this.#linkUp) return true
    const result = this.#vectors.write(this.#queues[pair].fd, packet)
    if (result >= 0) {
      this.counters.sent++
    } else if (result === -Errno.EAGAIN) {
      this.#writable[pair].request()
      return false
    } else {
      // A header that lies about its frame, an interface that is down: as on any network, the packet is gone.
      this.#refuse(result)
    }
    return true
  }

  receive(pair: number, packet: SpanList): number {
    if (!this.#linkUp) return 0
    const result = this.#vectors.read(this.#queues[pair].fd, packet)
    if (result > 0) {
      this.counters.received++
      return result
    }
    // Guest memory that is not there any more costs the packet, and not the interface.
    if (result === -Errno.EFAULT) this.#refuse(result)
    else if (result !== -Errno.EAGAIN) this.#lost(result)
    return 0
  }

  expect(pair: number): void {
    if (this.#linkUp) this.#readable[pair].request()
  }

  close(): void {
    this.#linkUp = false
    for (const readiness of [...this.#readable, ...this.#writable]) readiness.close()
    for (const queue of this.#queues) queue.close()
  }

  inspect(): Record<string, unknown> {
    const { name, mtu, counters } = this
    return { kind: 'tap', name, mtu, queues: this.#attached, ...counters, lastError: this.#lastError }
  }

  #refuse(result: number): void {
    this.counters.refused++
    this.#lastError = result === 0 ? 'nothing was read' : getSystemErrorName(result)
  }

  /** The interface is gone, and stays so: asking it again would tell the same at once, for ever. */
  #lost(result: number): void {
    this.#refuse(result)
    this.#linkUp = false
    for (const readiness of [...this.#readable, ...this.#writable]) readiness.close()
    this.#log(`interface ${this.name} is gone: ${this.#lastError}`)
    this.#listener?.linkChanged()
  }
}
