import { ConsoleDevice } from '../devices/virtio/console/console.ts'
import type { ConsolePortHost } from '../devices/virtio/console/port.ts'
import { cryptoRandomSource } from '../services/random-source.ts'
import type { SavedState } from '../snapshot/saved-state.ts'
import { elements, nested, stateShape } from '../snapshot/shape.ts'
import { CommandPort } from './command-port.ts'
import { type Report, Stream } from './messages.ts'
import { OutputTail } from './output-tail.ts'
import { StreamWindow } from './stream-window.ts'

/** Port numbers of the console device. The guest finds the ports by their names. */
const Port = { TERMINAL: 0, COMMAND: 1, STDOUT: 2, STDERR: 3 } as const
const PORT_OF_STREAM = { [Stream.TERMINAL]: Port.TERMINAL, [Stream.STDOUT]: Port.STDOUT, [Stream.STDERR]: Port.STDERR }

/** Maximum output of the terminal in a saved state, in bytes. */
const MAX_TAIL = 16 << 10
const SEED_BYTES = 64

const STATE = stateShape('the console', 1, { command: nested, tail: elements(Uint8Array, 0, MAX_TAIL) })

/** Console device with its users: the terminal, and commands with their output. */
export class GuestConsole {
  readonly device: ConsoleDevice
  readonly #command: CommandPort
  readonly #windows: Readonly<Record<Stream, StreamWindow>>
  readonly #report: (message: Report) => void
  /** Last output of the terminal, which a viewer of a restored guest has not seen. */
  readonly #tail = new OutputTail(MAX_TAIL)
  /** Output of a restored guest that the viewer must see first. */
  #shown: Uint8Array | undefined
  /** Input that the terminal's port has not accepted. */
  #typed: Uint8Array | undefined

  constructor(report: (message: Report) => void) {
    this.#report = report
    const window = (stream: Stream) =>
      new StreamWindow((bytes) => {
        if (stream === Stream.TERMINAL) this.#tail.add(bytes)
        report({ type: 'bytes', stream, bytes })
      })
    this.#windows = {
      [Stream.TERMINAL]: window(Stream.TERMINAL),
      [Stream.STDOUT]: window(Stream.STDOUT),
      [Stream.STDERR]: window(Stream.STDERR),
    }
    this.#command = new CommandPort({
      send: (bytes) => this.device.input(Port.COMMAND, bytes),
      outputPending: () => this.device.outputPending(Port.STDOUT) || this.device.outputPending(Port.STDERR),
      executed: (status) => report({ type: 'executed', status }),
    })
    const commandHost: ConsolePortHost = {
      write: (bytes) => {
        this.#command.receive(bytes)
        return bytes.length
      },
    }
    this.device = new ConsoleDevice([
      { name: 'org.outboard.terminal', isConsole: true, host: this.#windows[Stream.TERMINAL] },
      { name: 'org.outboard.command', isConsole: false, host: commandHost },
      { name: 'org.outboard.stdout', isConsole: false, host: this.#windows[Stream.STDOUT] },
      { name: 'org.outboard.stderr', isConsole: false, host: this.#windows[Stream.STDERR] },
    ])
    this.device.onInputRoom = (port) => {
      if (port === Port.TERMINAL) this.#type()
      else if (port === Port.COMMAND) this.#command.send()
    }
  }

  /** Sends input to the terminal. The machine sends more after the `typed` report. */
  typed(bytes: Uint8Array): void {
    this.#typed = bytes
    this.#type()
  }

  /** Returns the state besides that of the device. @throws {SnapshotError} while a command is executed */
  save(): SavedState {
    return STATE.write({ command: this.#command.save(), tail: this.#tail.read() })
  }

  /**
   * Takes a saved state, before the device serves. `resume` shows the last output of the terminal, and renews the guest's
   * clock and random numbers, which are those of the saved guest.
   * @returns false if the guest cannot be asked to renew them
   */
  restore(state: SavedState): boolean {
    const { command, tail } = STATE.read(state)
    this.#shown = tail
    return this.#command.restore(command, renewal())
  }

  /** The guest runs after `save` or `restore`: shows the restored output, and sends what waits for the guest. */
  resume(): void {
    if (this.#shown) this.#windows[Stream.TERMINAL].write(this.#shown)
    this.#shown = undefined
    this.#command.send()
  }

  resize(columns: number, rows: number): void {
    this.device.resize(columns, rows)
  }

  execute(command: string): void {
    this.#command.execute(command)
  }

  /** The machine accepted bytes of a stream. */
  taken(stream: Stream, bytes: number): void {
    this.#windows[stream].acknowledge(bytes)
    this.device.resumeOutput(PORT_OF_STREAM[stream])
    this.#command.flush()
  }

  #type(): void {
    if (!this.#typed) return
    const rest = this.#typed.subarray(this.device.input(Port.TERMINAL, this.#typed))
    this.#typed = rest.length > 0 ? rest : undefined
    if (rest.length === 0) this.#report({ type: 'typed' })
  }
}

/** Returns the command that sets the guest's clock, and mixes random bytes of this host into its random numbers. */
function renewal(): string {
  const seed = new Uint8Array(SEED_BYTES)
  cryptoRandomSource.fill(seed)
  const escaped = Array.from(seed, (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
  const seconds = Math.floor(Date.now() / 1000)
  return `exec >/dev/null 2>&1; date -s @${seconds}; printf '${escaped}' >/dev/urandom; reseed </dev/urandom`
}
