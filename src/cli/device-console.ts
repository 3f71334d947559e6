import type { Readable, Writable } from 'node:stream'
import { ConsoleDevice } from '../devices/console/console.ts'
import { GuestConsole } from '../engines/guest/guest-console.ts'
import type { BackEnd, ServedDevice } from './device-back-end.ts'

/** Output that may wait for its reader; more waits in the guest. */
const MOST_WAITING = 256 << 10

export const consoleBackEnd: BackEnd<object> = {
  name: 'console',
  summary: 'a text console on standard input and output',
  type: 'console',
  features: [],
  options: [],
  make: (_options, { report }) => (report ? consoleOfMachine(report) : consoleOn(process.stdin, process.stdout)),
}

/** The terminal and the command ports of a machine. */
function consoleOfMachine(report: ConstructorParameters<typeof GuestConsole>[0]): ServedDevice {
  const console = new GuestConsole(report)
  return {
    device: console.device,
    obey(command) {
      if (command.type === 'terminal') console.typed(command.bytes)
      else if (command.type === 'resize-terminal') console.resize(command.columns, command.rows)
      else if (command.type === 'execute') console.execute(command.command)
      else if (command.type === 'taken') console.taken(command.stream, command.bytes)
    },
  }
}

/** A stream that may be a terminal. */
type TerminalInput = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): void }
type TerminalOutput = Writable & { readonly columns?: number; readonly rows?: number }

/** One port, joined to two streams, of which neither is read or written faster than the other side follows. */
export function consoleOn(
  input: TerminalInput,
  output: TerminalOutput,
): ServedDevice & { readonly device: ConsoleDevice } {
  const write = (bytes: Uint8Array): number => {
    if (output.writableLength > MOST_WAITING) return 0
    output.write(Buffer.from(bytes))
    return bytes.length
  }
  const device = new ConsoleDevice([{ name: '', isConsole: true, host: { write } }])
  let rest = new Uint8Array()
  const type = (): void => {
    rest = rest.subarray(device.input(0, rest))
    if (rest.length > 0) input.pause()
    else input.resume()
  }
  const typed = (bytes: Buffer): void => {
    rest = Uint8Array.from(bytes)
    type()
  }
  const resume = (): void => device.resumeOutput(0)
  const resize = (): void => {
    if (output.columns !== undefined && output.rows !== undefined) device.resize(output.columns, output.rows)
  }
  device.onInputRoom = type
  input.on('data', typed)
  output.on('drain', resume).on('resize', resize)
  if (input.isTTY) input.setRawMode?.(true)
  resize()
  return {
    device,
    close() {
      if (input.isTTY) input.setRawMode?.(false)
      input.off('data', typed).pause()
      output.off('drain', resume).off('resize', resize)
    },
  }
}
