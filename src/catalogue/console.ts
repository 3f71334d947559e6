import type { Readable, Writable } from 'node:stream'
import { ConsoleDevice } from '../devices/virtio/console/console.ts'
import { LogLevel } from '../log/device-log.ts'
import { GuestConsole } from '../machine/guest-console.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { deviceKind, type ServedDevice } from './device-kind.ts'

/** Output that may wait for its reader; more waits in the guest. */
const MAX_WAITING = 256 << 10

export const consoleKind = deviceKind({
  name: 'console',
  id: DeviceId.CONSOLE,
  summary: 'a text console on standard input and output',
  options: {},
  open: () => undefined,
  build(_opened, _options, { report, log }) {
    if (report) return consoleOfMachine(report, (line) => log(LogLevel.WARNING, line))
    return consoleOn(process.stdin, process.stdout, (line) => log(LogLevel.WARNING, line))
  },
  commands: () => ['terminal', 'resize-terminal', 'execute', 'taken'],
  vhostUser: { type: 'console' },
  qemu: { generic: { queues: 10, queueSize: 64, configBytes: 12 } },
  guestModules: ['virtio_console'],
})

/** The terminal and the command ports of a machine. */
function consoleOfMachine(
  report: ConstructorParameters<typeof GuestConsole>[0],
  warn: (line: string) => void,
): ServedDevice {
  const console = new GuestConsole(report)
  return {
    device: console.device,
    handle(command) {
      if (command.type === 'terminal') console.typed(command.bytes)
      else if (command.type === 'resize-terminal') console.resize(command.columns, command.rows)
      else if (command.type === 'execute') console.execute(command.command)
      else if (command.type === 'taken') console.taken(command.stream, command.bytes)
    },
    save: () => console.save(),
    restore(state) {
      if (console.restore(state)) return
      warn('the guest has no command agent: its clock and its random numbers are those of the snapshot')
    },
    resumed: () => console.resume(),
  }
}

/** A stream that may be a terminal. */
type TerminalInput = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): void }
type TerminalOutput = Writable & { readonly columns?: number; readonly rows?: number }

/**
 * One port, joined to two streams, of which neither is read or written faster than the other side follows. A stream that fails does not
 * end the guest's console: input ends, output is discarded.
 */
export function consoleOn(
  input: TerminalInput,
  output: TerminalOutput,
  warn: (line: string) => void = () => {},
): ServedDevice & { readonly device: ConsoleDevice } {
  let discards = false
  const write = (bytes: Uint8Array): number => {
    if (discards) return bytes.length
    if (output.writableLength > MAX_WAITING) return 0
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
  const inputFailed = (error: Error): void => warn(`no more input: ${error.message}`)
  const outputFailed = (error: Error): void => {
    if (discards) return
    discards = true
    warn(`output is discarded from here on: ${error.message}`)
    device.resumeOutput(0)
  }
  device.onInputRoom = type
  // They stay when the console is closed: a write may fail after that.
  input.on('data', typed).on('error', inputFailed)
  output.on('drain', resume).on('resize', resize).on('error', outputFailed)
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
