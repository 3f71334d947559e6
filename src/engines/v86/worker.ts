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
import { SnapshotError } from '../../snapshot/snapshot-error.ts'
import { VirtioPciFunction } from '../../transport/virtio-pci/virtio-pci-function.ts'
import { SerialLog } from '../serial-log.ts'
import { Emulator } from './adapter/emulator.ts'
import { closeDevices, type GuestDevice, openDevices, planGuestDevices } from './devices.ts'
import { checkSnapshot, decodeSnapshot, encodeSnapshot, type MachineSnapshot } from './machine-snapshot.ts'
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

/** Returns the memory of copies, which move to the main thread. */
function transferable(message: Report): ArrayBuffer[] {
  if (message.type === 'pixels' && message.pixels) return [message.pixels.data.buffer as ArrayBuffer]
  return message.type === 'done' && message.bytes ? [message.bytes.buffer as ArrayBuffer] : []
}

class Engine {
  readonly #emulator: Emulator
  readonly #devices: readonly GuestDevice[]
  readonly #router: DeviceRouter<PlannedDevice>
  readonly #planned: readonly PlannedDevice[]
  readonly #functions: readonly VirtioPciFunction[]
  #paused = false
  /** Resolves when the last command that controls the engine was executed. */
  #controlled: Promise<void> = Promise.resolve()

  constructor(
    emulator: Emulator,
    devices: readonly GuestDevice[],
    planned: readonly PlannedDevice[],
    router: DeviceRouter<PlannedDevice>,
    private readonly memoryMiB: number,
  ) {
    this.#planned = planned
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
    else if (command.type === 'pause' || command.type === 'resume' || command.type === 'save')
      void this.#control(command)
    else {
      const routed = this.#router.route(command)
      if (routed) this.#devices.find(({ id }) => id === routed.device.id)?.handle?.(routed.command)
    }
  }

  /** Takes the state of a saved machine, before the processor runs. @throws {SnapshotError} */
  async restore(snapshot: MachineSnapshot): Promise<void> {
    await promiseOf(all(this.#functions.map((pci) => pci.suspend())))
    try {
      await this.#emulator.restore(snapshot.emulator)
    } catch (error) {
      throw new SnapshotError(`the emulator refuses its state: ${error instanceof Error ? error.message : error}`)
    }
    this.#emulator.betweenInstructions(() => {
      for (const [index, { pci, host }] of snapshot.devices.entries()) {
        this.#functions[index].restore(pci)
        if (host) this.#devices[index].restore?.(host)
      }
      for (const pci of this.#functions) pci.resume()
    })
  }

  /** Call when the processor runs after `restore`. */
  resumed(): void {
    for (const device of this.#devices) device.resumed?.()
  }

  async #control({ type, id }: Extract<MachineCommand, { type: 'pause' | 'resume' | 'save' }>): Promise<void> {
    // One after another: a second command must not find half of the devices suspended.
    const previous = this.#controlled
    let ended = (): void => {}
    this.#controlled = new Promise((resolve) => {
      ended = resolve
    })
    await previous
    try {
      const bytes = type === 'save' ? await this.#save() : undefined
      if (type === 'pause') await this.#emulator.stop()
      else if (type === 'resume') await this.#emulator.run()
      this.#paused = type === 'save' ? this.#paused : type === 'pause'
      report({ type: 'done', id, ...(bytes && { bytes }) })
    } catch (error) {
      report({ type: 'done', id, error: error instanceof Error ? error.message : String(error) })
    } finally {
      ended()
    }
  }

  async #save(): Promise<Uint8Array> {
    await this.#emulator.stop()
    await promiseOf(all(this.#functions.map((pci) => pci.suspend())))
    try {
      const devices = this.#functions.map((pci, index) => {
        const { id, save } = this.#devices[index]
        const { kind } = this.#planned.find((one) => one.id === id) ?? { kind: '' }
        if (kind === '')
          throw new SnapshotError(`the device of the module ${id} cannot be saved: make it a kind of device`)
        return { id, kind, pci: pci.save(), host: save?.() ?? null }
      })
      return encodeSnapshot({ memoryMiB: this.memoryMiB, devices, emulator: await this.#emulator.save() })
    } finally {
      this.#emulator.betweenInstructions(() => {
        for (const pci of this.#functions) pci.resume()
      })
      if (!this.#paused) await this.#emulator.run()
      this.resumed()
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
    acceptsChanges: options.acceptsChanges ?? false,
  })
  const snapshot = options.snapshot && decodeSnapshot(options.snapshot)
  const memoryMiB = options.memoryMiB ?? snapshot?.memoryMiB ?? MEMORY_MIB
  if (snapshot) checkSnapshot(snapshot, { memoryMiB, devices: planned })
  const devices = await openDevices(planned, hostOf, options.devices?.filter((one) => typeof one === 'string') ?? [])
  if (devices.length > MAX_DEVICES) {
    throw new UsageError(`v86 has places for ${MAX_DEVICES} devices (${devices.length} given): --engine qemu has more`)
  }
  report({ type: 'progress', step: snapshot ? 'restoring the guest' : 'loading the kernel' })
  const { kernel, initrd, ...rest } = options
  emulator = await Emulator.create({
    ...(snapshot ? rest : { ...rest, kernel, ...(initrd !== undefined && { initrd }) }),
    memoryMiB,
    onSerial: (byte) => serial.byte(byte),
    onReset: () => end({ kind: 'power-off', message: 'the guest restarted; restarts are not supported' }),
  })
  const engine = new Engine(emulator, devices, planned, router, memoryMiB)
  parentPort?.on('message', (command: MachineCommand) => {
    engine.handle(command)
    if (isInput(command)) report({ type: 'input-handled' })
  })
  if (snapshot) {
    serial.restored()
    await engine.restore(snapshot)
  }
  await emulator.run()
  report({ type: 'started' })
  // Viewers that were added when the machine had started see the terminal from its beginning.
  engine.resumed()
}

main().catch((error: unknown) =>
  report(refusal(error instanceof SnapshotError ? new UsageError(error.message, { cause: error }) : error)),
)
