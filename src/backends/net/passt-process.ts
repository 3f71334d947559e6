import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { makeScratchFolder } from '../../host/node/scratch-folder.ts'
import { NetworkPortError } from './network-port-error.ts'

/** Maximum time from the start of passt until it listens. */
const TIMEOUT_MS = 10_000
/** User and group that passt changes to if root starts it. */
const NOBODY_ID = 65534
/** Characters kept of its error output, to report why it exited. */
const MAX_KEPT = 16384

export interface PasstProcessOptions {
  /** Additional options of passt, for example `-t 2222:22` to forward a port to the guest. @default [] */
  readonly options?: readonly string[]
  /** Receives a line if passt exits without `stop`. @default no log */
  readonly log?: (line: string) => void
}

/**
 * passt as a child process, listening on a private socket: gives a guest access to the host's network, without root.
 *
 *     const passt = await PasstProcess.start()
 *     const port = PasstPort.connect({ path: passt.path }, reactor)
 *     ...
 *     port.close()
 *     passt.stop()
 *
 * It serves one connection and exits when the connection ends.
 */
export class PasstProcess {
  /** Path of the socket on which it listens. */
  readonly path: string
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #log: (line: string) => void
  #errorOutput = ''
  #exitReason: string | undefined
  #stopped = false

  /** Resolves when passt listens. @throws {NetworkPortError} if it is not installed, or exits */
  static async start(options: PasstProcessOptions = {}): Promise<PasstProcess> {
    const passt = new PasstProcess(options)
    try {
      await passt.#ready()
    } catch (error) {
      await passt.stop()
      throw error
    }
    return passt
  }

  /** Starts and stops passt to check it. @returns why it cannot start with these options; undefined if it can */
  static async refused(options: readonly string[] = []): Promise<string | undefined> {
    try {
      const passt = await PasstProcess.start({ options })
      await passt.stop()
      return undefined
    } catch (error) {
      if (error instanceof NetworkPortError) return error.message
      throw error
    }
  }

  private constructor({ options = [], log = () => {} }: PasstProcessOptions) {
    this.#log = log
    this.#folder = makeScratchFolder('passt')
    this.path = path.join(this.#folder, 'passt.sock')
    if (process.getuid?.() === 0) {
      // passt creates its socket as user `nobody`, or, in newer versions, as root without CAP_DAC_OVERRIDE.
      chownSync(this.#folder, NOBODY_ID, 0)
      chmodSync(this.#folder, 0o770)
    }
    const args = ['--foreground', '--stderr', '--one-off', '--socket', this.path, ...options]
    this.#child = spawn('passt', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => {
        this.#errorOutput = (this.#errorOutput + text).slice(-MAX_KEPT)
      })
      .on('error', () => {})
    this.#exited = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#end(reason)
        resolve()
      }
      this.#child
        .on('error', (error) => end('code' in error && error.code === 'ENOENT' ? PASST_MISSING : error.message))
        .on('close', (code, signal) => end(`passt exited (${signal ?? code}): ${lastLine(this.#errorOutput)}`))
    })
  }

  /** Stops passt. Resolves when it has exited, and the ports that it forwarded are free. */
  stop(): Promise<void> {
    this.#stopped = true
    this.#child.kill()
    rmSync(this.#folder, { recursive: true, force: true })
    return this.#exited
  }

  async #ready(): Promise<void> {
    for (let waited = 0; !isListening(this.path); waited += 10) {
      if (this.#exitReason !== undefined) throw new NetworkPortError(this.#exitReason)
      if (waited >= TIMEOUT_MS) {
        throw new NetworkPortError(`passt did not listen within ${TIMEOUT_MS / 1000} s: ${lastLine(this.#errorOutput)}`)
      }
      await setTimeout(10)
    }
  }

  #end(reason: string): void {
    if (this.#exitReason !== undefined) return
    this.#exitReason = reason
    if (!this.#stopped) this.#log(reason)
  }
}

/** Exit reason if the program does not exist. */
export const PASST_MISSING = 'passt is not installed: install the package passt'

/** Flags of listening sockets in /proc/net/unix. */
const LISTENS = ' 00010000 '

/**
 * True if the socket accepts connections. Its path exists slightly earlier. Connecting would not do as a test, because
 * passt serves one connection only.
 */
function isListening(path: string): boolean {
  if (!existsSync(path)) return false
  const table = readFileSync('/proc/net/unix', 'latin1').split('\n')
  return table.some((line) => line.includes(LISTENS) && line.endsWith(` ${path}`))
}

/** Splits a line of options at white space. */
export function passtOptions(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== '')
}

/**
 * Returns the last line of passt's error output before the list of options, which follows an error in an option.
 * Ignores its line about a missing system log.
 */
function lastLine(text: string): string {
  const [errors = ''] = text.split(/^Usage:/m)
  const lines = errors.split('\n').filter((line) => line !== '' && !line.includes('bytes to syslog'))
  return lines.at(-1)?.trim() ?? 'no error output'
}
