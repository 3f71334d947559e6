import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { loadKind } from '../../src/catalogue/index.ts'
import type { DeviceTransport } from '../../src/device-process/socket.ts'
import { type AttachedDevice, type Firmware, qemuArguments } from '../../src/engines/qemu/arguments.ts'
import { BootStation } from '../net/boot-station.ts'
import { type RunningDevice, startDevice } from './device-program.ts'
import { qemu } from './guest.ts'

const DEADLINE_MS = 240_000

export interface FirmwareMachineOptions {
  readonly transport: DeviceTransport
  readonly firmware: Firmware
  readonly disk: string
  /** Files of the boot server, and the file that the boot starts with. */
  readonly files: ReadonlyMap<string, Uint8Array>
  readonly bootFile: string
  /** Changes QEMU's arguments. */
  readonly change?: (argument: string) => string
}

/** Machine without a kernel, with a disk, a network card and an entropy device, and its serial port. */
export class FirmwareMachine {
  output = ''
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'outboard-firmware-'))
  readonly #devices: RunningDevice[] = []
  #station: BootStation | undefined
  #qemu: ChildProcess | undefined

  /** Log lines of the device processes. */
  get log(): string[] {
    return this.#devices.flatMap(({ log }) => log)
  }

  /** Names of the files that the guest read from the network. */
  get sent(): ReadonlySet<string> {
    return this.#station?.sent ?? new Set()
  }

  async start({ transport, firmware, disk, files, bootFile, change = String }: FirmwareMachineOptions): Promise<void> {
    const network = path.join(this.#folder, 'network.sock')
    this.#station = await BootStation.listen(network, files, bootFile)
    const devices = { block: [`--blk-file=${disk}`], net: [`--passt-socket=${network}`], entropy: [] }
    const attached: AttachedDevice[] = []
    for (const kind of ['block', 'net', 'entropy'] as const) {
      const socket = path.join(this.#folder, `${kind}.sock`)
      const args = [kind, `--transport=${transport}`, `--socket-path=${socket}`, ...devices[kind]]
      this.#devices.push(await startDevice(args))
      attached.push({ id: kind, kind: await loadKind(kind), transport, socket })
    }
    const args = qemuArguments({ accelerator: 'tcg', memoryMiB: 512, firmware, devices: attached }).map(change)
    const { command, args: before, env } = qemu().program
    this.#qemu = spawn(command, [...before, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [this.#qemu.stdout, this.#qemu.stderr]) {
      stream?.setEncoding('latin1').on('data', (text: string) => {
        this.output += text
      })
    }
  }

  async shows(what: RegExp): Promise<void> {
    for (const end = Date.now() + DEADLINE_MS; !what.test(this.output); ) {
      if (Date.now() > end || this.#qemu?.exitCode !== null) {
        throw new Error(`it never showed ${what}:\n${this.output}\n${this.log.join('\n')}`)
      }
      await sleep(50)
    }
  }

  async close(): Promise<void> {
    this.#qemu?.kill('SIGKILL')
    await Promise.all(this.#devices.map((device) => device.stop()))
    this.#station?.close()
    rmSync(this.#folder, { recursive: true })
  }
}
