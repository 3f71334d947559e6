import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { blockKind } from '../../src/catalogue/block.ts'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { qemuArguments } from '../../src/engines/qemu/arguments.ts'
import { GENERIC_FRONT_END } from '../../src/engines/qemu/front-ends.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { BARE_SCREEN } from '../guest/bare-screen.ts'
import { type RunningDevice, startDevice } from './device-program.ts'
import { qemu } from './guest.ts'
import { connected } from './port-guest.ts'

export interface ScreenGuestOptions {
  /** Folder of the sockets. */
  readonly folder: string
  /** `/dev/vda` */
  readonly disk: string
  /** Number of screens. */
  readonly heads?: number
  /** Further arguments of QEMU. */
  readonly args?: readonly string[]
}

/** Guest with a screen in QEMU by `vhost-user-gpu-pci`. The test controls its console and its monitor. */
export class ScreenGuest {
  /** Output of QEMU and of the GPU process. */
  readonly said: string[] = []
  readonly gpu: RunningDevice
  readonly #devices: readonly RunningDevice[]
  readonly #qemu: ChildProcess
  readonly #console: RunningDevice
  #monitor: Socket | undefined
  readonly #answers: ((answer: unknown) => void)[] = []
  /** Output of the guest. */
  #printed = ''
  #lastCommand = 0

  /** Boots it, and resolves when commands can be run and only they draw on its screen. */
  static async boot(options: ScreenGuestOptions): Promise<ScreenGuest> {
    const { disk } = options
    const folder = mkdtempSync(path.join(options.folder, 'guest-'))
    const socket = (name: string) => path.join(folder, `${name}.sock`)
    const devices = await Promise.all([
      startDevice(['gpu', `--socket-path=${socket('gpu')}`]),
      startDevice(['console', `--socket-path=${socket('console')}`]),
      startDevice(['block', `--socket-path=${socket('disk')}`, `--blk-file=${disk}`, '--read-only']),
    ])
    const guest = new ScreenGuest({ ...options, folder }, devices)
    try {
      await guest.#connect(socket('monitor'))
      await guest.#until('a shell', () => guest.#printed.includes('~ # ') || undefined)
      await guest.run(BARE_SCREEN)
      return guest
    } catch (error) {
      await guest.stop()
      throw new Error(`the guest did not boot: ${error}\n${guest.said.join('\n')}\n${guest.#printed}`)
    }
  }

  private constructor({ folder, heads = 1, args = [] }: ScreenGuestOptions, devices: readonly RunningDevice[]) {
    const boot = findGuestImage(AMD64_IMAGE)
    if (!boot) throw new Error('no guest image for QEMU')
    const [gpu, console] = devices
    this.#devices = devices
    this.gpu = gpu
    this.#console = console
    const { program } = qemu()
    const machine = qemuArguments({
      ...{ accelerator: 'tcg', memoryMiB: 512, boot },
      devices: [{ id: 'disk', kind: blockKind, transport: 'vhost-user', socket: path.join(folder, 'disk.sock') }],
    })
    this.#qemu = spawn(
      program.command,
      [
        ...[...program.args, ...machine],
        // One port, and only its queues.
        ...['-chardev', `socket,id=console,path=${path.join(folder, 'console.sock')}`],
        ...['-device', `${GENERIC_FRONT_END},chardev=console,virtio-id=3,num_vqs=2,vq_size=64,config_size=12`],
        ...['-chardev', `socket,id=gpu,path=${path.join(folder, 'gpu.sock')}`],
        ...['-device', `vhost-user-gpu-pci,id=gpu0,chardev=gpu,max_outputs=${heads}`],
        ...['-qmp', `unix:${path.join(folder, 'monitor.sock')},server=on,wait=off`],
        ...args,
      ],
      { env: { ...process.env, ...program.env }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    for (const output of [this.#qemu.stdout, this.#qemu.stderr]) {
      if (output) createInterface(output).on('line', (line) => this.said.push(line))
    }
    this.#console.child.stdout?.on('data', (bytes) => {
      this.#printed += bytes
    })
  }

  /** Runs a command in the guest's shell. @throws if it fails */
  async run(command: string): Promise<void> {
    const end = `end-${++this.#lastCommand}=`
    // In pieces, so that the terminal's echo of the command does not match its end marker.
    this.#console.child.stdin?.write(`${command}; echo end''-${this.#lastCommand}=$?\n`)
    const status = await this.#until(`${command} to end`, () => new RegExp(`${end}(\\d+)`).exec(this.#printed)?.[1])
    if (status !== '0') throw new Error(`${command}: ${this.#printed.slice(-2000)}`)
  }

  /** Repeats a command until it succeeds. */
  async eventually(command: string): Promise<void> {
    await this.run(`for i in $(seq 200); do { ${command}; } && break; sleep 0.1; done; ${command}`)
  }

  /** Sends a command to QEMU's monitor. @returns its answer */
  async monitor(execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const answer = new Promise((resolve) => this.#answers.push(resolve))
    this.#monitor?.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    const reply = await answer
    if (typeof reply === 'object' && reply !== null && 'error' in reply) throw new Error(JSON.stringify(reply.error))
    return reply
  }

  async stop(): Promise<void> {
    this.#monitor?.destroy()
    if (this.#qemu.exitCode === null && this.#qemu.signalCode === null) {
      const ended = once(this.#qemu, 'exit')
      this.#qemu.kill('SIGKILL')
      await ended
    }
    await Promise.all(this.#devices.map((device) => device.stop()))
    this.said.push(...this.gpu.log)
  }

  async #connect(file: string): Promise<void> {
    const monitor = await connected(file, this.#qemu)
    this.#monitor = monitor
    const lines = createInterface(monitor)
    // QEMU exited: its output has the reason.
    lines.on('error', () => {})
    monitor.on('close', () => {
      for (const answer of this.#answers.splice(0)) answer({ error: `QEMU is gone: ${this.said.join('\n')}` })
    })
    lines.on('line', (line) => {
      const message: unknown = JSON.parse(line)
      if (typeof message !== 'object' || message === null) return
      if ('return' in message || 'error' in message) this.#answers.shift()?.(message)
    })
    await this.monitor('qmp_capabilities')
  }

  async #until<T>(what: string, find: () => T | undefined): Promise<T> {
    for (let tries = 0; tries < 1200; tries++) {
      const found = find()
      if (found !== undefined) return found
      if (this.#qemu.exitCode !== null) throw new Error(`QEMU ended: ${this.said.join('\n')}`)
      await sleep(50)
    }
    throw new Error(`${what} never came: ${this.#printed.slice(-2000)}`)
  }
}
