import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { prepareQemuTools, type QemuTools } from '../src/engines/qemu/qemu.ts'
import type { Program } from '../src/guest-image/debian/program.ts'
import type { Figures } from './figures.ts'

const IMAGE_BYTES = 512 << 20
const MAIN = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))
/** Clock ticks a second in /proc: Linux tells programs 100, whatever it uses itself. */
const TICKS = 100

/** How a server of the disk is started. */
export interface Server {
  readonly name: string
  start(tools: QemuTools, image: string, socket: string): Program
}

export function storageDaemon(aio: string): Server {
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

export const OUTBOARD: Server = {
  name: 'outboard',
  start: (_tools, image, socket) => ({
    command: process.execPath,
    args: [MAIN, 'device', 'block', `--socket-path=${socket}`, `--blk-file=${image}`],
    env: {},
  }),
}

/** One image and one folder for all variants, and QEMU's tools. */
export class Place {
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

/** A server that accepts connections. */
export interface RunningServer {
  readonly child: ChildProcess
  readonly socket: string
  readonly tools: QemuTools
  /** Milliseconds from its start to the first connection that it accepts. */
  readonly ready: number
}

/** Measures a server that is started for that. */
export async function withServer(
  place: Place,
  server: Server,
  measure: (running: RunningServer) => Promise<Figures>,
): Promise<Figures> {
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
    return await measure({ child, socket, tools, ready: performance.now() - started })
  } catch (error) {
    throw new Error(`${server.name}: ${error instanceof Error ? error.message : error}\n${said}`)
  } finally {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    rmSync(socket, { force: true })
  }
}

/**
 * Resolves when a front-end could connect. The connection is closed at once, as by a front-end that changes its mind.
 */
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
export function processorSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}
