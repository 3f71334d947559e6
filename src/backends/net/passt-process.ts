import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { makeScratchFolder } from '../../host/node/scratch-folder.ts'
import { NetworkPortError } from './network-port-error.ts'

/** How long it may take to be ready. */
const TIMEOUT_MS = 10_000
/** The user and group passt becomes where it is started by root. */
const NOBODY_ID = 65534
/** Of what it says, as much is kept as tells why it ended. */
const MAX_KEPT = 16384

export interface PasstProcessOptions {
  /** More options of passt's own, such as `-t 2222:22` to reach a port of the guest's. */
  readonly options?: readonly string[]
  /** Takes a line when it ends by itself. */
  readonly log?: (line: string) => void
}

/**
 * passt, as a child of this process, on a socket of its own: the host's network for a guest, without root.
 *
 *     const passt = await PasstProcess.start()
 *     const port = PasstPort.connect({ path: passt.path }, reactor)
 *     ...
 *     port.close()
 *     passt.stop()
 *
 * It serves one connection and ends with it.
 */
export class PasstProcess {
  /** The socket it listens on. */
  readonly path: string
  readonly #folder: string
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #log: (line: string) => void
  #said = ''
  #ended: string | undefined
  #stopped = false

  /** Resolves when it listens. @throws {NetworkPortError} with what to install, or why it ended */
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

  /** Why none can be had with these options, tried out; undefined where one can. */
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
      // passt makes its socket as user `nobody`, or, in newer versions, as root without the right to ignore permissions.
      chownSync(this.#folder, NOBODY_ID, 0)
      chmodSync(this.#folder, 0o770)
    }
    const words = ['--foreground', '--stderr', '--one-off', '--socket', this.path, ...options]
    this.#child = spawn('passt', words, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-MAX_KEPT)
      })
      .on('error', () => {})
    this.#exited = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.#end(reason)
        resolve()
      }
      this.#child
        .on('error', (error) => end('code' in error && error.code === 'ENOENT' ? PASST_MISSING : error.message))
        .on('close', (code, signal) => end(`passt ended (${signal ?? code}): ${lastLine(this.#said)}`))
    })
  }

  /** Resolves when it is gone, and ports it had are free. */
  stop(): Promise<void> {
    this.#stopped = true
    this.#child.kill()
    rmSync(this.#folder, { recursive: true, force: true })
    return this.#exited
  }

  async #ready(): Promise<void> {
    for (let waited = 0; !isListening(this.path); waited += 10) {
      if (this.#ended !== undefined) throw new NetworkPortError(this.#ended)
      if (waited >= TIMEOUT_MS) throw new NetworkPortError(`passt does not listen: ${lastLine(this.#said)}`)
      await setTimeout(10)
    }
  }

  #end(reason: string): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    if (!this.#stopped) this.#log(reason)
  }
}

/** The reason where there is none. */
export const PASST_MISSING = 'passt is not installed: install the package passt'

/** Column of listening sockets in the kernel's table of Unix sockets. */
const LISTENS = ' 00010000 '

/** A socket has its path a moment before it can be connected to: the kernel tells which it is, without a connection. */
function isListening(path: string): boolean {
  if (!existsSync(path)) return false
  const table = readFileSync('/proc/net/unix', 'latin1').split('\n')
  return table.some((line) => line.includes(LISTENS) && line.endsWith(` ${path}`))
}

/** Options as one writes them in a line. */
export function passtOptions(line: string): string[] {
  return line.split(/\s+/).filter((word) => word !== '')
}

/**
 * Why it ended: what is wrong with an option stands before a list of all there are. Where there is no system log, it
 * complains of that too.
 */
function lastLine(text: string): string {
  const [said = ''] = text.split(/^Usage:/m)
  const lines = said.split('\n').filter((line) => line !== '' && !line.includes('bytes to syslog'))
  return lines.at(-1)?.trim() ?? 'it said nothing'
}
