import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, type Stats, statSync } from 'node:fs'
import path from 'node:path'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { UnixListener } from '../../../host/linux/unix-listener.ts'
import { UnixStream } from '../../../host/linux/unix-stream.ts'
import { errorCode } from '../../../host/node/error-code.ts'
import { readLines } from '../../../host/node/read-lines.ts'
import { makeScratchFolder } from '../../../host/node/scratch-folder.ts'
import { limitedLog } from '../../../log/limited-log.ts'
import { DiskError } from '../disk-error.ts'
import type { ImageFormat } from '../image-format.ts'
import { NbdDisk } from './nbd-disk.ts'

/** Maximum time for the program to close its image after the disconnect. */
const TIMEOUT_MS = 10_000
/** Starts the program with systemd's socket activation: the socket is descriptor 3. `exec` keeps the process id. */
const ACTIVATE = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'

export interface ImageServerOptions {
  /** Command that starts `qemu-nbd`. */
  readonly program: {
    readonly command: string
    readonly args: readonly string[]
    readonly env: Readonly<Record<string, string>>
  }
  readonly path: string
  /** Format of the image. Never detect it from the contents, because a guest can write them. */
  readonly format: ImageFormat
  /** @default false */
  readonly readOnly?: boolean
  /** Bypasses the page cache. @default false */
  readonly direct?: boolean
  /** Receives lines of the program and of the disk. @default no log */
  readonly log?: (line: string) => void
}

/**
 * Disk image of any format that QEMU supports, served by a child process, `qemu-nbd`.
 *
 *     const server = await ImageServer.start({ program, path: 'data.qcow2', format: 'qcow2' }, reactor)
 *     const device = new BlockDevice(server.disk)
 *     ...
 *     await server.close()
 *
 * The socket's path is removed after the connection, so no other process can connect to it. The child closes the image
 * properly and exits when its only client disconnects, even if the client was killed.
 */
export class ImageServer {
  private constructor(
    readonly disk: NbdDisk,
    private readonly child: Child,
  ) {}

  /** Starts the program and connects to it. @throws {DiskError} */
  static async start(options: ImageServerOptions, reactor: Reactor): Promise<ImageServer> {
    const { path: file, log = () => {} } = options
    const blockDevice = statusOf(file).isBlockDevice()
    const { child, stream } = startChild(options, blockDevice)
    try {
      const disk = await NbdDisk.open(stream, reactor, { name: file, log })
      child.onLine = limitedLog((line) => log(`${file}: ${line}`))
      return new ImageServer(disk, child)
    } catch (error) {
      await child.end()
      // The program's last line is the reason of its exit.
      if (child.lastLine !== undefined) throw new DiskError(`${file}: ${child.lastLine}`)
      throw error
    }
  }

  /**
   * Flushes, and waits until the program has closed the image.
   * @throws {DiskError} if written data may be lost
   */
  async close(): Promise<void> {
    try {
      await this.disk.close()
    } finally {
      await this.child.end()
    }
  }
}

function statusOf(file: string): Stats {
  try {
    return statSync(file)
  } catch (error) {
    const remedy = `create it, for example: qemu-img create -f qcow2 ${file} 10G`
    if (errorCode(error) === 'ENOENT') throw new DiskError(`there is no disk image ${file}: ${remedy}`)
    throw new DiskError(`cannot open the disk image ${file}: ${errorCode(error)}`)
  }
}

/** Starts the program on a listening socket to which this process is already connected, as its only client. */
function startChild(options: ImageServerOptions, blockDevice: boolean): { child: Child; stream: UnixStream } {
  const { command, args, env } = options.program
  // Only the owner can access this folder.
  const folder = makeScratchFolder('nbd')
  try {
    const listener = UnixListener.listen(path.join(folder, 'nbd.sock'))
    try {
      const stream = UnixStream.connect(path.join(folder, 'nbd.sock'))
      const words = [ACTIVATE, 'sh', command, ...args, ...serverArguments(options, blockDevice)]
      const child = spawn('sh', ['-c', ...words], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'ignore', 'pipe', listener.fd],
        // Ctrl-C in the terminal must reach this process only, which flushes first.
        detached: true,
      })
      return { child: new Child(child), stream }
    } finally {
      // Only the child may keep the listener open, so that its exit closes the connection.
      listener.close()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function serverArguments({ path: file, format, readOnly, direct }: ImageServerOptions, blockDevice: boolean): string[] {
  // A plain file name could be parsed as a protocol. In options, a comma in a value must be doubled.
  const image = `driver=${format},file.driver=${blockDevice ? 'host_device' : 'file'},file.filename=${file.replaceAll(',', ',,')}`
  return [
    ...['--discard=unmap', ...(readOnly ? ['--read-only'] : []), ...(direct ? ['--cache=none'] : [])],
    ...['--image-opts', image],
  ]
}

/** Process of qemu-nbd, and its error output. */
class Child {
  /** Called with each line of error output. */
  onLine: (line: string) => void = () => {}
  /** Last line of error output. */
  lastLine: string | undefined
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(child: ChildProcess) {
    this.#process = child
    if (child.stderr) readLines(child.stderr, (line) => this.#receiveLine(line.replace(/^\S*qemu-nbd: /, '')))
    // `close` follows the end of the error output, `exit` need not.
    this.#ended = Promise.race([once(child, 'close'), once(child, 'error')])
  }

  /** Waits until the process has exited; kills it after `TIMEOUT_MS`. */
  async end(): Promise<void> {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), TIMEOUT_MS)
    await this.#ended.catch(() => {})
    clearTimeout(timer)
  }

  #receiveLine(line: string): void {
    this.lastLine = line
    this.onLine(line)
  }
}
