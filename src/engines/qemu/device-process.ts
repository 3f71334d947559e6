import { type ChildProcess, spawn } from 'node:child_process'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { readLines } from '../../host/node/read-lines.ts'
import { isCoalesced } from '../../machine/coalesced-reports.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'

/** Time for a device to flush and exit; then it is killed. */
const STOP_TIMEOUT_MS = 8000
/** Descriptor of the socket in the process: the first after standard input, output, errors and the IPC channel. */
const SOCKET_FD = 4

/** Starts a device process: `command args KIND --fd=4 ...`. */
export interface DeviceProgram {
  readonly command: string
  readonly args: readonly string[]
}

export interface DeviceProcessOptions {
  readonly program: DeviceProgram
  /** Kind (`block`, `console` ...) and the options of that kind. */
  readonly args: readonly string[]
  /** Socket that QEMU connects to. */
  readonly socket: string
  readonly report: (report: Report) => void
  /** The process exited without a request. */
  readonly exited: (why: string) => void
}

/**
 * Device of the guest in a process of its own. Its socket listens before the process runs, so that QEMU need not wait
 * for the start.
 */
export class DeviceProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #stopping = false

  constructor({ program, args, socket, report, exited }: DeviceProcessOptions) {
    const [kind = ''] = args
    const listener = UnixListener.listen(socket)
    try {
      this.#child = spawn(program.command, [...program.args, ...args, `--fd=${SOCKET_FD}`], {
        stdio: ['ignore', 'pipe', 'pipe', 'ipc', listener.fd],
        serialization: 'advanced',
        // Ctrl-C at the terminal is for the machine only, which then stops its devices in order.
        detached: true,
      })
    } finally {
      // The child has the descriptor. The path is removed with its folder.
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
      if (isCoalesced(message as Report)) this.send({ type: 'report-received' })
    })
    // The last reports are read when the channel ends, which may be after the exit of the process.
    const disconnected = new Promise((resolve) => child.once('disconnect', resolve))
    this.#ended = new Promise((resolve) => {
      child.on('error', (error) => {
        exited(`cannot start the ${kind} device: ${error.message}`)
        resolve()
      })
      child.on('exit', (status, signal) => {
        if (!this.#stopping) exited(`the ${kind} device exited with ${status ?? signal}${lastLine && `: ${lastLine}`}`)
        void disconnected.then(() => resolve())
      })
    })
  }

  send(command: MachineCommand): void {
    // A command after the exit is dropped.
    if (this.#child.connected) this.#child.send(command, () => {})
  }

  /** Stops the device: completes requests in flight and flushes. */
  async stop(): Promise<void> {
    this.#stopping = true
    this.#child.kill('SIGTERM')
    const timeout = setTimeout(() => {
      this.#child.kill('SIGKILL')
      if (this.#child.connected) this.#child.disconnect()
    }, STOP_TIMEOUT_MS)
    await this.#ended
    clearTimeout(timeout)
  }
}
