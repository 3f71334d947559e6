import { type ChildProcess, spawn } from 'node:child_process'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { readLines } from '../../host/node/read-lines.ts'
import { isCoalesced } from '../../machine/coalesced-reports.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'

/** How long a device may take to flush and end. */
const STOP_TIMEOUT_MS = 8000
/** Where the process finds its socket: after standard input, output, errors and the channel to us. */
const SOCKET_FD = 4

/** Starts a device process: `command args KIND --fd=4 ...`. */
export interface DeviceProgram {
  readonly command: string
  readonly args: readonly string[]
}

export interface DeviceProcessOptions {
  readonly program: DeviceProgram
  /** `block`, `console` ... and the options of that kind. */
  readonly args: readonly string[]
  /** Where QEMU meets it. */
  readonly socket: string
  readonly report: (report: Report) => void
  /** It ended without a request. */
  readonly left: (why: string) => void
}

/**
 * A device of the guest, in a process of its own. Its socket listens before the process runs, so that QEMU does not wait for it
 * to start.
 */
export class DeviceProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #stopping = false

  constructor({ program, args, socket, report, left }: DeviceProcessOptions) {
    const [kind = ''] = args
    const listener = UnixListener.listen(socket)
    try {
      this.#child = spawn(program.command, [...program.args, ...args, `--fd=${SOCKET_FD}`], {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc', listener.fd],
        serialization: 'advanced',
        // A Ctrl-C at the terminal is for the machine, which then ends its devices in order.
        detached: true,
      })
    } finally {
      // The child has it now; its path stays until the folder goes.
      listener.descriptor.close()
    }
    const child = this.#child
    let lastLine = ''
    for (const output of [child.stdout, child.stderr]) {
      if (!output) continue
      readLines(output, (line) => {
        lastLine = line
        report({ type: 'log', line })
      })
    }
    child.on('message', (message) => {
      report(message as Report)
      if (isCoalesced(message as Report)) this.send({ type: 'heard' })
    })
    // What it reported last is read when the channel ends, which may be after the process did.
    const disconnected = new Promise((resolve) => child.once('disconnect', resolve))
    this.#ended = new Promise((resolve) => {
      child.on('error', (error) => {
        left(`the ${kind} device cannot be started: ${error.message}`)
        resolve()
      })
      child.on('exit', (status, signal) => {
        if (!this.#stopping) left(`the ${kind} device ended with ${status ?? signal}${lastLine && `: ${lastLine}`}`)
        void disconnected.then(() => resolve())
      })
    })
  }

  send(command: MachineCommand): void {
    // A command after its end is dropped.
    if (this.#child.connected) this.#child.send(command, () => {})
  }

  /** Lets it finish what is in flight, and flush. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#child.kill('SIGTERM')
    const late = setTimeout(() => {
      this.#child.kill('SIGKILL')
      if (this.#child.connected) this.#child.disconnect()
    }, STOP_TIMEOUT_MS)
    await this.#ended
    clearTimeout(late)
  }
}
