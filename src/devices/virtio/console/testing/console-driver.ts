import { activateDevice, type DeviceRig, type DeviceRigOptions } from '../../../../virtio/testing/device-rig.ts'
import type { Request } from '../../../../virtqueue/driver/index.ts'
import type { ConsoleDevice } from '../console.ts'
import { CONTROL_RECEIVEQ, CONTROL_TRANSMITQ, ControlEvent, receiveq } from '../protocol.ts'

/** Control message that the driver received, with the name of its event. */
export type ControlRecord = readonly [
  port: number,
  event: keyof typeof ControlEvent,
  value: number,
  rest: string | number[],
]

/**
 * Driver of a console device that behaves like Linux: uses buffers of a page, adds buffers for control messages again
 * when it has read them, and answers DEVICE_ADD with PORT_READY, and CONSOLE_PORT with PORT_OPEN.
 *
 *     const driver = new ConsoleDriver(device)
 *     driver.start()
 *     driver.read(0)                            // new input of port 0
 *     driver.write(0, [104, 105])
 */
export class ConsoleDriver {
  readonly rig: DeviceRig
  /** Received control messages, in order. */
  readonly received: ControlRecord[] = []
  readonly #device: ConsoleDevice
  readonly #control: Request[] = []
  readonly #input = new Map<number, Request[]>()

  constructor(device: ConsoleDevice, options?: DeviceRigOptions) {
    this.#device = device
    this.rig = activateDevice(device, options)
  }

  /** Starts like Linux with control queues: adds buffers first, then sends DEVICE_READY. */
  start(buffers = 8): void {
    this.offerControl(buffers)
    this.say(0xffff_ffff, ControlEvent.DEVICE_READY, 1)
    this.listen()
  }

  /** Adds buffers for control messages. */
  offerControl(buffers: number, length = 4096): void {
    for (let i = 0; i < buffers; i++) this.#control.push(this.rig.submit(CONTROL_RECEIVEQ, [], [length]))
  }

  /** Sends a control message. */
  say(port: number, event: number, value: number): void {
    const message = new DataView(new ArrayBuffer(8))
    message.setUint32(0, port, true)
    message.setUint16(4, event, true)
    message.setUint16(6, value, true)
    this.rig.send(CONTROL_TRANSMITQ, [new Uint8Array(message.buffer)])
  }

  /** Reads and answers control messages until there are none. */
  listen(): void {
    for (let next = this.#takeControl(); next; next = this.#takeControl()) {
      this.offerControl(1)
      const view = new DataView(next.buffer)
      const port = view.getUint32(0, true)
      const event = view.getUint16(4, true)
      const value = view.getUint16(6, true)
      const rest = next.subarray(8)
      const name = Object.entries(ControlEvent).find(([, code]) => code === event)?.[0] as keyof typeof ControlEvent
      this.received.push([
        port,
        name,
        value,
        event === ControlEvent.PORT_NAME ? new TextDecoder().decode(rest) : [...rest],
      ])
      if (event === ControlEvent.DEVICE_ADD) this.say(port, ControlEvent.PORT_READY, 1)
      if (event === ControlEvent.CONSOLE_PORT) this.say(port, ControlEvent.PORT_OPEN, 1)
    }
  }

  /** Adds buffers for input. */
  offer(port: number, buffers: number, length: number): void {
    const requests = this.#input.get(port) ?? []
    this.#input.set(port, requests)
    for (let i = 0; i < buffers; i++) requests.push(this.rig.submit(receiveq(port), [], [length]))
  }

  /** Returns input that arrived, in order. Does not add its buffers again. */
  read(port: number): number[] {
    const requests = this.#input.get(port) ?? []
    const bytes: number[] = []
    while (requests[0]?.reply) bytes.push(...(requests.shift()?.reply?.bytes ?? []))
    return bytes
  }

  /** Sends output. The request's `reply` is set when the host has taken all of it. */
  write(port: number, ...parts: (Uint8Array | readonly number[])[]): Request {
    return this.rig.submit(receiveq(port) + 1, parts)
  }

  /** Notifies the device of a queue of the port. */
  kick(port: number): void {
    this.#device.notify(receiveq(port))
    this.#device.notify(receiveq(port) + 1)
  }

  #takeControl(): Uint8Array | undefined {
    if (!this.#control[0]?.reply) return undefined
    return this.#control.shift()?.reply?.bytes.slice()
  }
}
