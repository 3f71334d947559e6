import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import type { Writer } from '../../../virtqueue/writer.ts'
import type { ConsolePort } from './port.ts'
import { CONTROL_BYTES, ControlEvent } from './protocol.ts'

/** Control messages to the driver about a port, as bits. The lowest bit is sent first. */
export const PortMessage = { ADD: 1, CONSOLE: 2, SIZE: 4, NAME: 8, OPEN: 16 } as const
export type PortMessage = (typeof PortMessage)[keyof typeof PortMessage]

/** Size in columns and rows. */
export interface ConsoleSize {
  columns: number
  rows: number
}

/**
 * Control messages to the driver that wait for buffers.
 *
 * One bit for each kind of message and port is stored, not the message: it is made from the current state when it is
 * sent. So the memory is bounded while a port opens and closes repeatedly, and the driver receives the latest state.
 */
export class ControlMessages {
  readonly #ports: readonly ConsolePort[]
  readonly #size: ConsoleSize
  /** Bits of `PortMessage` that are not sent yet, by port. */
  readonly #due: Uint8Array
  /** Messages that did not fit into the driver's buffer. */
  #lost = 0

  constructor(ports: readonly ConsolePort[], size: ConsoleSize) {
    this.#ports = ports
    this.#size = size
    this.#due = new Uint8Array(ports.length)
  }

  get lost(): number {
    return this.#lost
  }

  /** Number of messages that wait for buffers. */
  get waiting(): number {
    let count = 0
    for (const due of this.#due) for (let bits = due; bits !== 0; bits &= bits - 1) count++
    return count
  }

  /** @param messages bits of `PortMessage` */
  enqueue(port: number, messages: number): void {
    this.#due[port] |= messages
  }

  /** Waiting messages about a port, as bits of `PortMessage`. */
  due(port: number): number {
    return this.#due[port]
  }

  clear(): void {
    this.#due.fill(0)
  }

  /** Sends waiting messages while the driver has buffers. */
  send(queue: DeviceQueue): void {
    for (let port = 0; port < this.#due.length; port++) {
      while (this.#due[port] !== 0) {
        const chain = queue.pop()
        if (!chain) {
          queue.publish()
          return
        }
        const message = (this.#due[port] & -this.#due[port]) as PortMessage
        this.#due[port] &= ~message
        queue.push(chain, this.#write(chain, port, message))
      }
    }
    queue.publish()
  }

  /**
   * Writes a message to the driver's buffer.
   * @returns bytes written: 0 if the message does not fit, because a truncated message has another meaning
   */
  #write(chain: Chain, index: number, message: PortMessage): number {
    const { writer } = chain
    const port = this.#ports[index]
    const rest = message === PortMessage.NAME ? port.name.length : message === PortMessage.SIZE ? 4 : 0
    if (writer.remaining < CONTROL_BYTES + rest) {
      this.#lost++
      return 0
    }
    switch (message) {
      case PortMessage.ADD:
        begin(writer, index, ControlEvent.DEVICE_ADD, 1)
        break
      case PortMessage.CONSOLE:
        begin(writer, index, ControlEvent.CONSOLE_PORT, 1)
        break
      case PortMessage.SIZE:
        begin(writer, index, ControlEvent.RESIZE, 0)
        writer.u16(this.#size.columns)
        writer.u16(this.#size.rows)
        break
      case PortMessage.NAME:
        begin(writer, index, ControlEvent.PORT_NAME, 1)
        writer.write(port.name)
        break
      case PortMessage.OPEN:
        begin(writer, index, ControlEvent.PORT_OPEN, port.hostOpen ? 1 : 0)
        break
    }
    return writer.written
  }
}

function begin(writer: Writer, port: number, event: number, value: number): void {
  writer.u32(port)
  writer.u16(event)
  writer.u16(value)
}
