/** Worker thread of the engine: the emulator with its devices, controlled by messages of the main thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { DiskError } from '../../backends/disk/disk-error.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { CoalescedReports } from '../../machine/coalesced-reports.ts'
import type { StopReason } from '../../machine/machine.ts'
import { isInput, type MachineCommand, type Report } from '../../machine/messages.ts'
import { all, promiseOf } from '../../pending/pending.ts'
import { VirtioPciFunction } from '../../transport/virtio-pci/virtio-pci-function.ts'
import { SerialLog } from '../serial-log.ts'
import { Emulator } from './adapter/emulator.ts'
import { createDevices, type GuestDevices } from './devices.ts'
import type { V86MachineOptions } from './options.ts'

/** First free slot of the emulated board. */
const FIRST_SLOT = 8
const MEMORY_MIB = 256

const options: V86MachineOptions = workerData

function post(message: Report, transfer: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, [...transfer])
}

const reports = new CoalescedReports(post)
const report = (message: Report): void => reports.report(message)

const log = (line: string): void => report({ type: 'log', line })

class Engine {
  readonly #emulator: Emulator
  readonly #devices: GuestDevices
  readonly #functions: VirtioPciFunction[] = []

  constructor(emulator: Emulator, devices: GuestDevices) {
    this.#emulator = emulator
    this.#devices = devices
    devices.all.forEach((device, i) => {
      emulator.plug(FIRST_SLOT + i, (bus) => {
        const pci = new VirtioPciFunction(device, bus, { memory: emulator.memory, log: limitedLog(log) })
        this.#functions.push(pci)
        return pci
      })
    })
  }

  handle(command: MachineCommand): void {
    const devices = this.#devices
    switch (command.type) {
      case 'key':
        devices.keyboard.key(command.code, command.pressed)
        return
      case 'button':
        devices.pointer.button(command.code, command.pressed)
        return
      case 'pointer':
        devices.pointer.move(command.x, command.y)
        return
      case 'wheel':
        devices.pointer.wheel(command.vertical, command.horizontal)
        return
      case 'resize':
        devices.gpu.resize(command.scanout, command.width, command.height)
        return
      case 'terminal':
        devices.console.typed(command.bytes)
        return
      case 'resize-terminal':
        devices.console.resize(command.columns, command.rows)
        return
      case 'execute':
        devices.console.execute(command.command)
        return
      case 'taken':
        devices.console.taken(command.stream, command.bytes)
        return
      case 'report-received':
        reports.acknowledge()
        return
      case 'damage-taken':
        devices.display.taken(command.scanout)
        return
      case 'read-pixels': {
        const pixels = devices.display.read(command.scanout, command.rect)
        post({ type: 'pixels', id: command.id, pixels }, pixels ? [pixels.data.buffer as ArrayBuffer] : [])
        return
      }
      case 'inspect': {
        const inspection = { devices: this.#functions.map((pci) => pci.inspect()) }
        report({ type: 'inspection', id: command.id, inspection })
        return
      }
      case 'stop':
        void this.stop()
    }
  }

  async stop(): Promise<void> {
    await this.#emulator.stop()
    await promiseOf(all(this.#functions.map((pci) => pci.reset())))
    await this.#devices.close()
    report({ type: 'stopped' })
  }
}

async function main(): Promise<void> {
  let ended = false
  let emulator: Emulator | undefined
  const end = (reason: StopReason): void => {
    if (ended) return
    ended = true
    void emulator?.stop()
    report({ type: 'ended', reason })
  }
  const serial = new SerialLog({
    progress: (step) => report({ type: 'progress', step }),
    line: (text) => log(`guest: ${text}`),
    ended: end,
  })
  // Disks first, so that their errors are reported at once.
  const devices = await createDevices(options, report)
  report({ type: 'progress', step: 'loading the kernel' })
  emulator = await Emulator.create({
    ...options,
    memoryMiB: options.memoryMiB ?? MEMORY_MIB,
    onSerial: (byte) => serial.byte(byte),
    onReset: () => end({ kind: 'power-off', message: 'the guest restarted; restarts are not supported' }),
  })
  const engine = new Engine(emulator, devices)
  parentPort?.on('message', (command: MachineCommand) => {
    engine.handle(command)
    if (isInput(command)) report({ type: 'input-handled' })
  })
  await emulator.run()
  report({ type: 'started' })
}

main().catch((error: unknown) => {
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  report({ type: 'refused', name: error instanceof DiskError ? 'DiskError' : name, message })
})
