import type { SavedState } from '../../../snapshot/saved-state.ts'
import { flag, integer, type Shape, stateShape, tuple } from '../../../snapshot/shape.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { featureSet, hasFeature } from '../../../virtio/feature.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { type ConsoleSize, ControlMessages, PortMessage } from './control.ts'
import { ConsolePort, type ConsolePortOptions, PORT } from './port.ts'
import {
  CONFIG_BYTES,
  CONFIG_COLS,
  CONFIG_EMERG_WR,
  CONFIG_MAX_NR_PORTS,
  CONFIG_ROWS,
  CONTROL_BYTES,
  CONTROL_RECEIVEQ,
  CONTROL_TRANSMITQ,
  ConsoleFeature,
  ControlEvent,
} from './protocol.ts'

const MAX_PORTS = 31
const PORT_QUEUE_SIZE = 64
const CONTROL_QUEUE_SIZE = 32

/** All bits of `PortMessage`. */
const ALL_MESSAGES = PortMessage.ADD | PortMessage.CONSOLE | PortMessage.SIZE | PortMessage.NAME | PortMessage.OPEN

/** Returns the shape of the saved state of a console with so many ports. */
function stateOf(ports: number) {
  return stateShape('console', 1, {
    columns: integer(0, 0xffff),
    rows: integer(0, 0xffff),
    sizeDue: flag,
    ports: tuple(new Array(ports).fill(PORT) as (typeof PORT)[]),
    /** Waiting control messages, as bits of `PortMessage`, by port. */
    due: tuple(new Array(ports).fill(integer(0, ALL_MESSAGES)) as Shape<number>[]),
  })
}
type SavedConsole = ReturnType<ReturnType<typeof stateOf>['read']>

/**
 * Console device: up to 31 ports, each a byte stream in both directions. A port can be a text console.
 *
 *     const device = new ConsoleDevice(
 *       [{ name: 'terminal', isConsole: true, host: { write: (bytes) => terminal.print(bytes) } }],
 *       { columns: 80, rows: 25 },
 *     )
 *     device.input(0, keys)
 *     device.resize(120, 40)
 *
 * MULTIPORT is not offered if the only port is a console, because the configuration space then contains everything.
 * This is also safer: kernels disagree on the order of columns and rows in the resize message of MULTIPORT, and agree
 * on the configuration space.
 *
 * @virtio 5.3
 */
export class ConsoleDevice implements VirtioDevice {
  readonly id = DeviceId.CONSOLE
  readonly name = 'console'
  readonly queueSizes: readonly number[]
  readonly features: bigint
  readonly featureNames = ConsoleFeature
  readonly config: ConfigSpace
  /** Called when a port that refused input has room again. Set by the host. */
  onInputRoom: ((port: number) => void) | undefined
  readonly #ports: readonly ConsolePort[]
  readonly #control: ControlMessages
  /** Size of port 0. */
  readonly #size: ConsoleSize
  #session: DriverSession | undefined
  /** State to apply when a driver is there. */
  #restored: SavedConsole | undefined
  /** True if a driver activated the device since the last reset. */
  #used = false
  /** True if MULTIPORT was negotiated. */
  #multiport = false
  /** True if a configuration change must still announce the size to the driver. */
  #sizeDue = false
  /** Control messages that were ignored: too short, for an unknown port, or with an unknown event. */
  #ignored = 0
  /** Failures that the driver reported. */
  #failures = 0

  /**
   * @param size size of port 0, until `resize`
   * @param emergencyWrite receives the bytes that a guest writes without queues; enables EMERG_WRITE
   */
  constructor(
    ports: readonly ConsolePortOptions[],
    size: ConsoleSize = { columns: 80, rows: 25 },
    emergencyWrite?: (byte: number) => void,
  ) {
    if (ports.length < 1 || ports.length > MAX_PORTS) {
      throw new RangeError(`a console device has 1 to ${MAX_PORTS} ports, not ${ports.length}`)
    }
    this.#ports = ports.map((options, index) => new ConsolePort(index, options))
    this.#size = { ...size }
    this.#control = new ControlMessages(this.#ports, this.#size)
    const multiport = ports.length > 1 || !ports[0].isConsole
    this.features =
      (ports[0].isConsole ? featureSet(ConsoleFeature.SIZE) : 0n) |
      (multiport ? featureSet(ConsoleFeature.MULTIPORT) : 0n) |
      (emergencyWrite ? featureSet(ConsoleFeature.EMERG_WRITE) : 0n)
    this.queueSizes = this.#ports.flatMap((_, index) =>
      index === 0 && multiport
        ? [PORT_QUEUE_SIZE, PORT_QUEUE_SIZE, CONTROL_QUEUE_SIZE, CONTROL_QUEUE_SIZE]
        : [PORT_QUEUE_SIZE, PORT_QUEUE_SIZE],
    )
    this.config = new ConfigSpace(
      CONFIG_BYTES,
      emergencyWrite &&
        ((offset, width) => {
          // Valid at any time, even before negotiation. @virtio 5.3.5.1
          if (offset <= CONFIG_EMERG_WR && offset + width > CONFIG_EMERG_WR) {
            emergencyWrite(this.config.view.getUint8(CONFIG_EMERG_WR))
          }
          this.#writeConfig(this.config.view)
        }),
    )
    this.#writeConfig(this.config.view)
  }

  start(session: DriverSession): void {
    this.#session = session
    this.#used = true
    this.#multiport = hasFeature(session.features, ConsoleFeature.MULTIPORT)
    this.#sizeDue = !this.#multiport && hasFeature(session.features, ConsoleFeature.SIZE)
    // Without control messages ports cannot be opened: port 0 is open, other ports do not exist.
    if (this.#multiport) for (const port of this.#ports) port.start(session, false)
    else this.#ports[0].start(session, true)
    if (this.#restored) this.#apply(this.#restored)
    this.#restored = undefined
  }

  notify(queue: number): void {
    if (!this.#session) return
    if (queue === CONTROL_RECEIVEQ) this.#sendControl()
    else if (queue === CONTROL_TRANSMITQ) this.#receiveControl()
    else if ((queue & 1) === 0) this.#deliver(portOf(queue))
    else if (this.#ports[portOf(queue)]?.output() && this.#sizeDue) this.#announceSize()
  }

  /**
   * Queues input for the guest until the guest opened the port and has buffers.
   * @returns the number of bytes taken; if fewer than given, `onInputRoom` is called when there is room again
   */
  input(port: number, bytes: Uint8Array): number {
    return this.#ports[port]?.input(bytes) ?? 0
  }

  /** Resumes output after the port's host refused bytes. */
  resumeOutput(port: number): void {
    this.#ports[port]?.output()
  }

  /** True if output of the port waits for its host. Chains in the ring without a notification are offered first. */
  outputPending(port: number): boolean {
    return this.#ports[port]?.hasOutput() ?? false
  }

  /** Opens or closes the host's end of the port. It is open initially. */
  setHostOpen(port: number, open: boolean): void {
    const found = this.#ports[port]
    if (!found || found.hostOpen === open) return
    found.hostOpen = open
    if (!found.ready) return
    this.#control.enqueue(port, PortMessage.OPEN)
    this.#sendControl()
  }

  /** Changes the size of port 0, if it is a console. */
  resize(columns: number, rows: number): void {
    if (!this.#ports[0].isConsole) return
    this.#size.columns = columns
    this.#size.rows = rows
    this.#announceSize()
    if (!this.#ports[0].ready) return
    this.#control.enqueue(0, PortMessage.SIZE)
    this.#sendControl()
  }

  /** Keeps input that arrived before any driver, because drivers begin with a reset. */
  reset(): void {
    this.#restored = undefined
    if (!this.#used) return
    this.#used = false
    this.#sizeDue = false
    this.#session = undefined
    this.#control.clear()
    this.#ports.forEach((port, index) => {
      port.reset()
      this.#reportRoom(index)
    })
  }

  stopQueue(queue: number): void {
    if (queue !== CONTROL_TRANSMITQ && (queue & 1) === 1) this.#ports[portOf(queue)]?.releaseOutput()
  }

  /** Refuses input, and gives the host no output. */
  suspend(): void {
    for (const port of this.#ports) port.suspend()
  }

  resume(): void {
    this.#ports.forEach((port, index) => {
      port.resume()
      this.#reportRoom(index)
    })
  }

  save(): SavedState {
    const { columns, rows } = this.#size
    const ports = this.#ports.map((port) => port.save())
    const due = ports.map((_, index) => this.#control.due(index))
    return stateOf(ports.length).write(this.#restored ?? { columns, rows, sizeDue: this.#sizeDue, ports, due })
  }

  restore(state: SavedState): void {
    const saved = stateOf(this.#ports.length).read(state)
    this.#restored = saved
    this.#size.columns = saved.columns
    this.#size.rows = saved.rows
    this.#writeConfig(this.config.view)
  }

  inspect(): Record<string, unknown> {
    return {
      columns: this.#size.columns,
      rows: this.#size.rows,
      ports: this.#ports.map((port) => port.inspect()),
      controlWaiting: this.#control.waiting,
      controlLost: this.#control.lost,
      controlIgnored: this.#ignored,
      driverFailures: this.#failures,
    }
  }

  #apply({ sizeDue, ports, due }: SavedConsole): void {
    this.#sizeDue = sizeDue
    for (const [index, port] of this.#ports.entries()) {
      port.restore(ports[index])
      this.#control.enqueue(index, due[index])
      if (port.ready && port.hostOpen !== ports[index].hostOpen) this.#control.enqueue(index, PortMessage.OPEN)
    }
  }

  #writeConfig(view: DataView): void {
    view.setUint16(CONFIG_COLS, this.#size.columns, true)
    view.setUint16(CONFIG_ROWS, this.#size.rows, true)
    view.setUint32(CONFIG_MAX_NR_PORTS, this.#ports.length, true)
    view.setUint32(CONFIG_EMERG_WR, 0, true)
  }

  /**
   * Announces the size by a configuration change, also at the driver's first output: Linux reads the size only after
   * such a change, and before the first output its console may not exist.
   */
  #announceSize(): void {
    this.#sizeDue = false
    this.config.update((view) => this.#writeConfig(view))
  }

  #deliver(port: number): void {
    this.#ports[port]?.deliver()
    this.#reportRoom(port)
  }

  #reportRoom(port: number): void {
    if (this.#ports[port]?.takeRoom()) this.onInputRoom?.(port)
  }

  #sendControl(): void {
    const queue = this.#session?.queues[CONTROL_RECEIVEQ]
    if (queue && this.#multiport) this.#control.send(queue)
  }

  #receiveControl(): void {
    const queue = this.#session?.queues[CONTROL_TRANSMITQ]
    if (!queue || !this.#multiport) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#handle(chain.reader)
      queue.push(chain, 0)
    }
    queue.publish()
    this.#sendControl()
  }

  #handle(message: Reader): void {
    if (message.remaining < CONTROL_BYTES) {
      this.#ignored++
      return
    }
    const id = message.u32()
    const event = message.u16()
    const value = message.u16()
    const port = this.#ports[id]
    if (event === ControlEvent.DEVICE_READY) this.#deviceReady(value !== 0)
    else if (port && event === ControlEvent.PORT_READY) this.#portReady(id, port, value !== 0)
    else if (port && event === ControlEvent.PORT_OPEN) {
      port.guestOpen = value !== 0
      this.#deliver(id)
    } else this.#ignored++
  }

  #deviceReady(success: boolean): void {
    if (!success) this.#failures++
    else
      this.#ports.forEach((port, index) => {
        // A port that exists must not be added again. @virtio 5.3.6.2.1
        if (port.added) return
        port.added = true
        this.#control.enqueue(index, PortMessage.ADD)
      })
  }

  /** Handles PORT_READY. A driver that resumes from sleep sends it for its ports without a DEVICE_READY. */
  #portReady(index: number, port: ConsolePort, success: boolean): void {
    port.ready = success
    if (!success) {
      this.#failures++
      return
    }
    port.added = true
    if (port.isConsole) this.#control.enqueue(index, PortMessage.CONSOLE)
    // Only port 0 has a size. @virtio 5.3.6
    if (port.isConsole && index === 0) this.#control.enqueue(index, PortMessage.SIZE)
    if (port.name.length > 0) this.#control.enqueue(index, PortMessage.NAME)
    // A port is closed until PORT_OPEN.
    if (port.hostOpen) this.#control.enqueue(index, PortMessage.OPEN)
  }
}

/** Returns the port of a receiveq or transmitq; invalid for the control queues. */
function portOf(queue: number): number {
  return queue < 2 ? 0 : (queue - 2) >> 1
}
