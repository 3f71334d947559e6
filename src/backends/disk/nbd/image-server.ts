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

/** How long it may take to close its image when it has been left. */
const TIMEOUT_MS = 10_000
/** As systemd would start it: the socket is descriptor 3, for the process of this number. The shell becomes the program. */
const ACTIVATE = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'

export interface ImageServerOptions {
  /** How `qemu-nbd` is started. */
  readonly program: {
    readonly command: string
    readonly args: readonly string[]
    readonly env: Readonly<Record<string, string>>
  }
  readonly path: string
  /** Never found out from the image: a guest could have written there what it likes. */
  readonly format: ImageFormat
  readonly readOnly?: boolean
  /** Past the page cache. */
  readonly direct?: boolean
  readonly log?: (line: string) => void
}

/**
 * A disk image of any format that QEMU knows, served to this process by `qemu-nbd`, its child.
 *
 *     const server = await ImageServer.start({ program, path: 'data.qcow2', format: 'qcow2' }, reactor)
 *     const device = new BlockDevice(server.disk)
 *     ...
 *     await server.close()
 *
 * The socket between the two has no name when it is used: no other process reaches the image. The child ends when its only
 * client is gone, also one that was killed, and closes the image properly.
 */
export class ImageServer {
  private constructor(
    readonly disk: NbdDisk,
    private readonly child: Child,
  ) {}

  /** @throws {DiskError} in one line what is wrong with the image, or with the program */
  static async start(options: ImageServerOptions, reactor: Reactor): Promise<ImageServer> {
    const { path: file, log = () => {} } = options
    const blockDevice = statusOf(file).isBlockDevice()
    const { child, stream } = startChild(options, blockDevice)
    try {
      const disk = await NbdDisk.open(stream, reactor, { name: file, log })
      child.tell = limitedLog((line) => log(`${file}: ${line}`))
      return new ImageServer(disk, child)
    } catch (error) {
      await child.end()
      // It says itself why it left.
      if (child.lastLine !== undefined) throw new DiskError(`${file}: ${child.lastLine}`)
      throw error
    }
  }

  /**
   * Flushes, and waits until the image is closed.
   * @throws {DiskError} where something written may be lost
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
    const remedy = `make one, for example with: qemu-img create -f qcow2 ${file} 10G`
    if (errorCode(error) === 'ENOENT') throw new DiskError(`there is no disk image ${file}: ${remedy}`)
    throw new DiskError(`cannot open the disk image ${file}: ${errorCode(error)}`)
  }
}

/** Starts the program on a socket on which we are the first and only caller. */
function startChild(options: ImageServerOptions, blockDevice: boolean): { child: Child; stream: UnixStream } {
  const { command, args, env } = options.program
  // Only its owner can enter it.
  const folder = makeScratchFolder('nbd')
  try {
    const listener = UnixListener.listen(path.join(folder, 'nbd.sock'))
    try {
      const stream = UnixStream.connect(path.join(folder, 'nbd.sock'))
      const words = [ACTIVATE, 'sh', command, ...args, ...serverArguments(options, blockDevice)]
      const child = spawn('sh', ['-c', ...words], {
        env: { ...process.env, ...env },
        stdio: ['ignore', 'ignore', 'pipe', listener.fd],
        // A Ctrl-C at the terminal is for us, who flush first.
        detached: true,
      })
      return { child: new Child(child), stream }
    } finally {
      // The child alone has it now, so that its end is the end of the connection.
      listener.close()
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function serverArguments({ path: file, format, readOnly, direct }: ImageServerOptions, blockDevice: boolean): string[] {
  // Word for word, since a plain name could be taken for another protocol's. A comma ends a value, unless it is doubled.
  const image = `driver=${format},file.driver=${blockDevice ? 'host_device' : 'file'},file.filename=${file.replaceAll(',', ',,')}`
  return [
    ...['--discard=unmap', ...(readOnly ? ['--read-only'] : []), ...(direct ? ['--cache=none'] : [])],
    ...['--image-opts', image],
  ]
}

/** The process, and what it says. */
class Child {
  /** Takes what it says from now on. */
  tell: (line: string) => void = () => {}
  /** The last line it said. */
  lastLine: string | undefined
  readonly #process: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(child: ChildProcess) {
    this.#process = child
    if (child.stderr) readLines(child.stderr, (line) => this.#line(line.replace(/^\S*qemu-nbd: /, '')))
    // `close`: when all that it said was heard.
    this.#ended = Promise.race([once(child, 'close'), once(child, 'error')])
  }

  /** Waits until it is gone. */
  async end(): Promise<void> {
    const late = setTimeout(() => this.#process.kill('SIGKILL'), TIMEOUT_MS)
    await this.#ended.catch(() => {})
    clearTimeout(late)
  }

  #line(line: string): void {
    this.lastLine = line
    this.tell(line)
  }
}
