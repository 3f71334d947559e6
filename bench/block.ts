import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Program, runProgram } from '../src/engines/qemu/program.ts'
import { prepareQemuTools, type QemuTools } from '../src/engines/qemu/qemu.ts'
import type { Bench, Figures, Variant } from './bench.ts'

const MIB = 1 << 20
const IMAGE_BYTES = 512 * MIB
const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))
/** Clock ticks a second in /proc: Linux tells programs 100, whatever it uses itself. */
const TICKS = 100

/** What the client does. It has no random numbers: steps of a prime number of blocks reach all of them, in no order. */
interface Workload {
  readonly name: string
  readonly bytes: number
  readonly step: number
  readonly depth: number
  readonly requests: number
  readonly write: boolean
}

const BLOCK = 4096
const SCATTERED = 7919 * BLOCK
const LARGE = 128 << 10

const WORKLOADS: readonly Workload[] = [
  ...[false, true].flatMap((write) =>
    [1, 32, 128].map((depth) => ({
      name: `4 KiB ${write ? 'write' : 'read'}, depth ${depth}`,
      bytes: BLOCK,
      step: SCATTERED,
      depth,
      requests: depth === 1 ? 60_000 : write ? 300_000 : 500_000,
      write,
    })),
  ),
  ...[false, true].map((write) => ({
    name: `128 KiB ${write ? 'write' : 'read'} in order, depth 8`,
    bytes: LARGE,
    step: LARGE,
    depth: 8,
    requests: 60_000,
    write,
  })),
]

/** How a server of the disk is started. */
interface Server {
  readonly name: string
  start(tools: QemuTools, image: string, socket: string): Program
}

function storageDaemon(aio: string): Server {
  return {
    name: `qemu-storage-daemon, ${aio}`,
    start: ({ storageDaemon: program }, image, socket) => ({
      ...program,
      args: [
        ...program.args,
        ...['--object', 'iothread,id=io'],
        ...['--blockdev', `driver=file,node-name=file,filename=${image},aio=${aio}`],
        ...['--blockdev', 'driver=raw,node-name=disk,file=file'],
        '--export',
        `type=vhost-user-blk,id=export,addr.type=unix,addr.path=${socket},node-name=disk,writable=on,iothread=io`,
      ],
    }),
  }
}

const SERVERS: readonly Server[] = [
  storageDaemon('threads'),
  storageDaemon('io_uring'),
  {
    name: 'outboard',
    start: (_tools, image, socket) => ({
      command: process.execPath,
      args: [MAIN, 'device', 'block', `--socket-path=${socket}`, `--blk-file=${image}`],
      env: {},
    }),
  },
]

/** One image and one folder for all, and the tools once they are there. */
class Place {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'outboard-bench-'))
  readonly image = path.join(this.folder, 'disk.img')
  #tools: QemuTools | undefined
  #users: number

  constructor(users: number, random: () => number) {
    this.#users = users
    const bytes = new Uint32Array(IMAGE_BYTES / 4)
    for (let i = 0; i < bytes.length; i += 64) bytes[i] = random() * 2 ** 32
    writeFileSync(this.image, bytes)
  }

  async tools(): Promise<QemuTools> {
    this.#tools ??= await prepareQemuTools()
    return this.#tools
  }

  leave(): void {
    if (--this.#users === 0) rmSync(this.folder, { recursive: true })
  }
}

async function measure(place: Place, server: Server, workload: Workload): Promise<Figures> {
  const tools = await place.tools()
  const socket = path.join(place.folder, 'disk.sock')
  const { command, args, env } = server.start(tools, place.image, socket)
  const started = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } })
  let said = ''
  child.stderr.on('data', (bytes) => {
    said += bytes
  })
  try {
    await accepts(child, socket)
    const ready = performance.now() - started
    const before = processorSeconds(child)
    const output = await runProgram(tools.img, [
      ...['bench', '-c', String(workload.requests), '-d', String(workload.depth), '-s', String(workload.bytes)],
      ...['-S', String(workload.step), ...(workload.write ? ['-w'] : []), '-t', 'none', '--image-opts'],
      `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on`,
    ])
    const seconds = Number(/completed in ([\d.]+) seconds/.exec(output)?.[1])
    return {
      requests: workload.requests / seconds,
      cpu: ((processorSeconds(child) - before) / workload.requests) * 1e6,
      memory: residentBytes(child) / MIB,
      ready,
    }
  } catch (error) {
    throw new Error(`${server.name}: ${error instanceof Error ? error.message : error}\n${said}`)
  } finally {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    rmSync(socket, { force: true })
  }
}

/** Resolves when a front-end could connect. The connection is closed at once, as by a front-end that changes its mind. */
async function accepts(child: ChildProcess, socket: string): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    if (existsSync(socket) && (await connects(socket))) return
    await sleep(1)
  }
}

function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket)
    connection.on('connect', () => {
      connection.destroy()
      resolve(true)
    })
    connection.on('error', () => resolve(false))
  })
}

/** User and system time of a process, its threads included. */
function processorSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

function residentBytes({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

export const blockBench: Bench = {
  name: 'block',
  summary: 'a disk over vhost-user, beside qemu-storage-daemon’s; client: qemu-img bench (libblkio)',
  columns: {
    requests: 'requests a second',
    cpu: 'microseconds of the server’s processor time a request',
    memory: 'MiB of memory the server has (resident), after the work',
    ready: 'milliseconds from its start to the first connection it accepts',
  },
  prepare(random) {
    const place = new Place(WORKLOADS.length * SERVERS.length, random)
    return WORKLOADS.flatMap((workload) =>
      SERVERS.map(
        (server): Variant => ({
          name: server.name,
          group: workload.name,
          measure: () => measure(place, server, workload),
          async close() {
            place.leave()
          },
        }),
      ),
    )
  },
}
