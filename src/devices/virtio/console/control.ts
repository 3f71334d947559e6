import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import type { Writer } from '../../../virtqueue/writer.ts'
import type { ConsolePort } from './port.ts'
import { CONTROL_BYTES, ControlEvent } from './protocol.ts'

/** Control messages to the driver about a port, as bits; the lowest is sent first. */
export const Tell = { ADD: 1, CONSOLE: 2, SIZE: 4, NAME: 8, OPEN: 16 } as const
export type Tell = (typeof Tell)[keyof typeof Tell]

/** Columns and rows. */
export interface ConsoleSize {
  columns: number
  rows: number
}

/**
 * Control messages to the driver that wait for buffers.
 *
 * Not messages wait but facts, a bit each: a message is made when it is sent, of what is true then. So there is nothing
 * to grow, however often a port opens and closes while the driver does not look, and it learns the latest.
 */
export class ControlMessages {
  readonly #ports: readonly ConsolePort[]
  readonly #size: ConsoleSize
  /** Bits of `Tell`, by port. */
  readonly #due: Uint8Array
  /** Messages that did not fit the driver's buffer. */
  #lost = 0

  constructor(ports: readonly ConsolePort[], size: ConsoleSize) {
    this.#ports = ports
    this.#size = size
    this.#due = new Uint8Array(ports.length)
  }

  get lost(): number {
    return this.#lost
  }

  /** Messages that wait for buffers. */
  get waiting(): number {
    let count = 0
    for (const due of this.#due) for (let bits = due; bits !== 0; bits &= bits - 1) count++
    return count
  }

  /** @param what bits of `Tell` */
  tell(port: number, what: number): void {
    this.#due[port] |= what
  }

  /** Messages about a port that wait, as bits of `Tell`. */
  due(port: number): number {
    return this.#due[port]
  }

  clear(): void {
    this.#due.fill(0)
  }

  /** Sends what is due, as far as the driver has buffers. */
  send(queue: DeviceQueue): void {
    for (let port = 0; port < this.#due.length; port++) {
      while (this.#due[port] !== 0) {
        const chain = queue.pop()
        if (!chain) {
          queue.publish()
          return
        }
        const what = (this.#due[port] & -this.#due[port]) as Tell
        this.#due[port] &= ~what
        queue.push(chain, this.#write(chain, port, what))
      }
    }
    queue.publish()
  }

  /** @returns the bytes written: none where it does not fit, since half a message is another message */
  #write(chain: Chain, index: number, what: Tell): number {
    const { writer } = chain
    const port = this.#ports[index]
    const rest = what === Tell.NAME ? port.name.length : what === Tell.SIZE ? 4 : 0
    if (writer.remaining < CONTROL_BYTES + rest) {
      this.#lost++
      return 0
    }
    switch (what) {
      case Tell.ADD:
        begin(writer, index, ControlEvent.DEVICE_ADD, 1)
        break
      case Tell.CONSOLE:
        begin(writer, index, ControlEvent.CONSOLE_PORT, 1)
        break
      case Tell.SIZE:
        begin(writer, index, ControlEvent.RESIZE, 0)
        writer.u16(this.#size.columns)
        writer.u16(this.#size.rows)
        break
      case Tell.NAME:
        begin(writer, index, ControlEvent.PORT_NAME, 1)
        writer.write(port.name)
        break
      case Tell.OPEN:
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
