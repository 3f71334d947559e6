/** Worker thread of the engine: the emulator with its devices, controlled by messages of the main thread. */
import { parentPort, workerData } from 'node:worker_threads'
import type { DeviceHost } from '../../catalogue/device-kind.ts'
import type { PlannedDevice } from '../../catalogue/planned-device.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { CoalescedReports } from '../../machine/coalesced-reports.ts'
import { DeviceRouter } from '../../machine/device-router.ts'
import type { DeviceInspection, StopReason } from '../../machine/machine.ts'
import { isInput, type MachineCommand, type Report, refusal } from '../../machine/messages.ts'
import { all, promiseOf } from '../../pending/pending.ts'
import { UsageError } from '../../services/usage-error.ts'
import { VirtioPciFunction } from '../../transport/virtio-pci/virtio-pci-function.ts'
import { SerialLog } from '../serial-log.ts'
import { Emulator } from './adapter/emulator.ts'
import { closeDevices, type GuestDevice, openDevices, planGuestDevices } from './devices.ts'
import type { V86MachineOptions } from './options.ts'

/** First free slot of the emulated board: 8 to 15 are free. Further devices are further functions of these slots. */
const FIRST_SLOT = 8
const SLOTS = 8
/** Functions of a slot. */
const FUNCTIONS = 8
const MAX_DEVICES = SLOTS * FUNCTIONS
const MEMORY_MIB = 256

const options: V86MachineOptions = workerData

const reports = new CoalescedReports((message) => parentPort?.postMessage(message, transferable(message)))
const report = (message: Report): void => reports.report(message)

const log = (line: string): void => report({ type: 'log', line })

/** Pixels are a copy already: they move to the main thread. */
function transferable(message: Report): ArrayBuffer[] {
  return message.type === 'pixels' && message.pixels ? [message.pixels.data.buffer as ArrayBuffer] : []
}

class Engine {
  readonly #emulator: Emulator
  readonly #devices: readonly GuestDevice[]
  readonly #router: DeviceRouter<PlannedDevice>
  readonly #functions: readonly VirtioPciFunction[]

  constructor(emulator: Emulator, devices: readonly GuestDevice[], router: DeviceRouter<PlannedDevice>) {
    this.#emulator = emulator
    this.#devices = devices
    this.#router = router
    this.#functions = devices.map(({ device }, index) =>
      emulator.plug(
        FIRST_SLOT + (index % SLOTS),
        Math.floor(index / SLOTS),
        (bus) => new VirtioPciFunction(device, bus, { memory: emulator.memory, log: limitedLog(log) }),
      ),
    )
  }

  handle(command: MachineCommand): void {
    if (command.type === 'report-received') reports.acknowledge()
    else if (command.type === 'inspect') {
      report({ type: 'inspection', id: command.id, inspection: { devices: this.#inspect() } })
    } else if (command.type === 'stop') void this.stop()
    else {
      const routed = this.#router.route(command)
      if (routed) this.#devices.find(({ id }) => id === routed.device.id)?.handle?.(routed.command)
    }
  }

  async stop(): Promise<void> {
    await this.#emulator.stop()
    await promiseOf(all(this.#functions.map((pci) => pci.reset())))
    await closeDevices(this.#devices)
    report({ type: 'stopped' })
  }

  #inspect(): DeviceInspection[] {
    return this.#devices.map(({ panel, inspect }, index) => {
      const device = this.#functions[index].inspect()
      return { ...device, panel, state: { ...device.state, ...inspect?.() } }
    })
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
  // Devices first: an error about a disk appears at once.
  const planned = await planGuestDevices(options)
  const router = new DeviceRouter(planned)
  const hostOf = (device: PlannedDevice): DeviceHost => ({
    transport: 'virtio-pci',
    log: (_level, line) => log(line),
    fail: ({ message }) => end({ kind: 'failure', message }),
    report: (message) => report(router.report(device, message)),
  })
  const devices = await openDevices(planned, hostOf, options.devices?.filter((one) => typeof one === 'string') ?? [])
  if (devices.length > MAX_DEVICES) {
    throw new UsageError(`v86 has places for ${MAX_DEVICES} devices (${devices.length} given): --engine qemu has more`)
  }
  report({ type: 'progress', step: 'loading the kernel' })
  emulator = await Emulator.create({
    ...options,
    memoryMiB: options.memoryMiB ?? MEMORY_MIB,
    onSerial: (byte) => serial.byte(byte),
    onReset: () => end({ kind: 'power-off', message: 'the guest restarted; restarts are not supported' }),
  })
  const engine = new Engine(emulator, devices, router)
  parentPort?.on('message', (command: MachineCommand) => {
    engine.handle(command)
    if (isInput(command)) report({ type: 'input-handled' })
  })
  await emulator.run()
  report({ type: 'started' })
}

main().catch((error: unknown) => report(refusal(error)))
