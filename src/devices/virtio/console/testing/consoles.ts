import type { Request } from '../../../../virtqueue/driver/index.ts'
import { ConsoleDevice } from '../console.ts'
import type { ConsolePortHost } from '../port.ts'

/** Host that takes a set number of bytes, and keeps them. */
export class KeepingHost implements ConsolePortHost {
  readonly bytes: number[] = []
  /** Number of bytes that the host still takes. */
  room = Number.POSITIVE_INFINITY
  calls = 0

  write(bytes: Uint8Array): number {
    this.calls++
    const taken = Math.min(bytes.length, this.room)
    this.room -= taken
    for (let i = 0; i < taken; i++) this.bytes.push(bytes[i])
    return taken
  }
}

export function singlePort(host: ConsolePortHost = new KeepingHost()): ConsoleDevice {
  return new ConsoleDevice([{ name: 'terminal', isConsole: true, host }], { columns: 80, rows: 25 })
}

export function twoPorts(...hosts: ConsolePortHost[]): ConsoleDevice {
  return new ConsoleDevice([
    { name: 'terminal', isConsole: true, host: hosts[0] ?? new KeepingHost() },
    { name: 'commands', isConsole: false, host: hosts[1] ?? new KeepingHost() },
  ])
}

export function inspectPort(device: ConsoleDevice, port: number) {
  const { ports } = device.inspect() as { ports: { outputDropped: number; emptyInputBuffers: number }[] }
  return ports[port]
}

/** Length with which a request was returned; undefined if it was not returned yet. */
export const written = (request: Request): number | undefined => request.reply?.written
