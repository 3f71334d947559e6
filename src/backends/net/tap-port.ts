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
  /** Name of the interface, which is created if it does not exist. The kernel replaces `%d` with a number. */
  readonly name: string
  /** Number of queue pairs. Several need an interface with multi_queue, or a new one. @default 1 */
  readonly pairs?: number
  /** Receives a line about each problem. @default no log */
  readonly log?: (line: string) => void
}

/** Counters since the port was opened. */
export interface TapCounters {
  sent: number
  received: number
  /** Packets that the kernel refused. */
  refused: number
}

/**
 * TAP interface of the host as the port of a network device: the guest is a station on a network of the host.
 *
 *     const port = TapPort.open({ name: 'tap0' }, reactor)
 *     const device = new NetDevice(port)
 *
 * Packets move between guest memory and the kernel in one system call each, without another copy. Checksums and
 * segmentation are left to the kernel, or to a guest at the other end. With several queues, the kernel delivers the
 * packets of a flow on the queue on which the guest sends packets of that flow.
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
  /** Number of queues in use: the first ones. */
  #attached: number
  #linkUp = true
  #lastError: string | undefined

  /** Opens an interface. @throws {NetworkPortError} with a fix, in one line, if it cannot be opened */
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
      if (!bringUp(name)) log(`interface ${name} is down; fix: as root: ip link set ${name} up`)
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
      // The header does not match the frame, or the interface is down: the packet is dropped.
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
    // If guest memory is no longer mapped, only this packet is lost.
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
    this.#lastError = result === 0 ? 'end of file' : getSystemErrorName(result)
  }

  /** Takes the link down permanently: the interface was removed, and its descriptor would stay readable. */
  #lost(result: number): void {
    this.#refuse(result)
    this.#linkUp = false
    for (const readiness of [...this.#readable, ...this.#writable]) readiness.close()
    this.#log(`interface ${this.name} failed, so its link is down: ${this.#lastError}`)
    this.#listener?.linkChanged()
  }
}
