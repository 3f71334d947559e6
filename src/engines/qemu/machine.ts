import { type ChildProcess, spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import path from 'node:path'
import type { DiskFormat } from '../../backends/disk/image-format.ts'
import { type AddedDevice, standardDevices } from '../../catalogue/machine-device.ts'
import { type Settings, settingsArguments } from '../../catalogue/options.ts'
import { type PlannedDevice, planDevices } from '../../catalogue/planned-device.ts'
import type { DeviceTransport } from '../../device-process/socket.ts'
import type { LogicalBlockSize } from '../../devices/virtio/block/block.ts'
import type { Program } from '../../guest-image/debian/program.ts'
import { readLines } from '../../host/node/read-lines.ts'
import { makeScratchFolder } from '../../host/node/scratch-folder.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { DeviceRouter } from '../../machine/device-router.ts'
import type { DeviceInspection, Machine, StopReason } from '../../machine/machine.ts'
import { type EngineEvents, type MachineEngine, MachineProxy } from '../../machine/machine-proxy.ts'
import { type MachineCommand, type Report, refusal, Stream } from '../../machine/messages.ts'
import { SerialLog } from '../serial-log.ts'
import { type AttachedDevice, type QemuArgumentsOptions, qemuArguments } from './arguments.ts'
import { DeviceProcess, type DeviceProgram } from './device-process.ts'
import { GpuScreens } from './gpu-screens.ts'
import { type GuestNetwork, networkSettings } from './guest-network.ts'
import { SerialTerminal } from './serial-terminal.ts'

/** Time for QEMU to exit; then it is killed. */
const QEMU_TIMEOUT_MS = 3000

/** Disk image. */
interface QemuDisk {
  readonly path: string
  readonly readOnly: boolean
  readonly format?: DiskFormat
  readonly logicalBlockSize?: LogicalBlockSize
}

/** Guest in QEMU. */
export interface QemuMachineOptions
  extends Pick<QemuArgumentsOptions, 'accelerator' | 'memoryMiB' | 'boot' | 'firmware'> {
  readonly qemu: Program
  readonly deviceProgram: DeviceProgram
  /** Protocol between QEMU and all devices. */
  readonly transport: DeviceTransport
  /** Disks in order, `/dev/vda` first. */
  readonly disks: readonly QemuDisk[]
  /** True if the GPU offers blob resources, which it reads in place. @default true */
  readonly blob?: boolean
  /** Network of the guest. @default no network card */
  readonly network?: GuestNetwork
  /** More devices. @default [] */
  readonly devices?: readonly AddedDevice[]
  /** Set when the serial port is the terminal until the guest uses its console; else its lines are logged. */
  readonly serialTerminal?: boolean
}

/** Creates a machine whose guest runs in QEMU, with each device in a process of its own. `start` starts it. */
export function createQemuMachine(options: QemuMachineOptions): Machine {
  return new MachineProxy(new QemuEngine(options))
}

/** vfio-user-pci and vhost-user-gpu devices do not survive QEMU's own migration, which reports no error. */
const NO_CONTROL = 'a guest in QEMU cannot be paused or saved: QEMU does not save these devices; use --engine v86'

class QemuEngine implements MachineEngine {
  readonly #options: QemuMachineOptions
  #devices: readonly PlannedDevice[] = []
  #router = new DeviceRouter<PlannedDevice>([])
  readonly #processes = new Map<string, DeviceProcess>()
  readonly #inspections = new Inspections()
  #events: EngineEvents | undefined
  #qemu: ChildProcess | undefined
  #qemuEnded: Promise<void> = Promise.resolve()
  /** Folder of the sockets. */
  #folder: string | undefined
  /** Screens of the GPUs. */
  readonly #screens = new Map<PlannedDevice, GpuScreens>()
  #serial: SerialTerminal | undefined
  #stopping: Promise<void> | undefined
  /** Reason why the guest stopped. */
  #ended: StopReason | undefined

  constructor(options: QemuMachineOptions) {
    this.#options = options
  }

  start(events: EngineEvents): void {
    this.#events = events
    this.#startAll(events).then(
      () => events.report({ type: 'started' }),
      (error) => {
        events.report(refusal(error))
        void this.terminate()
      },
    )
  }

  send(command: MachineCommand): void {
    const serial = this.#serial
    if (command.type === 'stop') void this.#stop()
    else if (command.type === 'inspect') this.#inspect(command.id)
    else if (command.type === 'pause' || command.type === 'resume' || command.type === 'save') {
      this.#events?.report({ type: 'done', id: command.id, error: NO_CONTROL })
    } else if (command.type === 'terminal' && serial?.active)
      serial.type(command.bytes, () => this.#events?.report({ type: 'typed' }))
    else if (command.type === 'taken' && command.stream === Stream.TERMINAL && serial) {
      const bytes = serial.taken(command.bytes)
      if (bytes > 0) this.#forward({ ...command, bytes })
    } else this.#forward(command)
  }

  /** Sends a command to the device that handles it. */
  #forward(command: MachineCommand): void {
    const routed = this.#router.route(command)
    if (!routed) return
    const to = this.#screens.get(routed.device) ?? this.#processes.get(routed.device.id)
    to?.send(routed.command)
  }

  async terminate(): Promise<void> {
    await this.#end()
  }

  async #startAll(events: EngineEvents): Promise<void> {
    const { disks, blob, network, devices } = this.#options
    this.#devices = await planDevices(
      standardDevices({
        disks: disks.map(diskSettings),
        blob,
        network: network && networkSettings(network),
        added: devices,
      }),
    )
    this.#router = new DeviceRouter(this.#devices)
    if (this.#stopping) return
    const folder = makeScratchFolder('run')
    this.#folder = folder
    const { deviceProgram: program, transport } = this.#options
    events.report({ type: 'progress', step: 'starting devices and QEMU' })
    const attached = this.#devices.map((device) => {
      const { id, kind, deviceKind, commands } = device
      const socket = path.join(folder, `${id}.sock`)
      const showsScreen = commands.includes('read-pixels')
      const settings = showsScreen
        ? exportedTo(path.join(folder, `${id}-frames.sock`), device.settings)
        : device.settings
      const process = new DeviceProcess({
        program,
        args: [kind, `--transport=${transport}`, ...settingsArguments(settings)],
        socket,
        report: (report) => this.#receive(device, report),
        exited: (why) => this.#fail(why),
      })
      this.#processes.set(id, process)
      if (showsScreen) {
        const send = (command: MachineCommand) => process.send(command)
        const report = (one: Report) => events.report(this.#router.report(device, one))
        this.#screens.set(device, new GpuScreens(`${settings['export']}`, send, report))
      }
      return { id, kind: deviceKind, transport, socket, settings }
    })
    this.#startQemu(attached)
  }

  #startQemu(devices: readonly AttachedDevice[]): void {
    const { qemu, accelerator, memoryMiB, boot, firmware, serialTerminal } = this.#options
    const args = qemuArguments({
      accelerator,
      memoryMiB,
      devices,
      ...(boot && { boot }),
      ...(firmware && { firmware }),
    })
    const child = spawn(qemu.command, [...qemu.args, ...args], {
      env: { ...process.env, ...qemu.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    })
    this.#qemu = child
    if (serialTerminal) {
      const show = (bytes: Uint8Array) => this.#events?.report({ type: 'bytes', stream: Stream.TERMINAL, bytes })
      this.#serial = new SerialTerminal(child.stdin, child.stdout, show)
    }
    const serial = new SerialLog({
      progress: (step) => this.#reportSerial({ type: 'progress', step }),
      line: (text) => this.#reportSerial({ type: 'log', line: `guest: ${text}` }),
      ended: (reason) => this.#guestEnded(reason),
    })
    child.stdout
      ?.on('data', (bytes: Uint8Array) => {
        for (const byte of bytes) serial.byte(byte)
      })
      .on('error', () => {})
    let lastError = ''
    if (child.stderr) {
      // A guest can cause any number of these lines.
      const log = limitedLog((line) => this.#events?.report({ type: 'log', line }))
      readLines(child.stderr, (line) => {
        lastError = line
        if (!this.#stopping) log(line)
      })
    }
    this.#qemuEnded = new Promise((resolve) => {
      child.on('error', (error) => {
        this.#fail(`cannot start QEMU: ${error.message}`)
        resolve()
      })
      child.on('close', (status, signal) => {
        if (status === 0) this.#guestEnded({ kind: 'power-off', message: 'the guest powered off' })
        else this.#fail(`QEMU exited with ${status ?? signal}${lastError && `: ${lastError}`}`)
        resolve()
      })
    })
  }

  /** Reports a line or step of the serial port, unless the terminal shows it. */
  #reportSerial(report: Report): void {
    if (!this.#serial?.active) this.#events?.report(report)
  }

  #receive(device: PlannedDevice, received: Report): void {
    if (received.type === 'bytes' && received.stream === Stream.TERMINAL) this.#serial?.release()
    const report = this.#screens.get(device)?.receive(received) ?? received
    if (report.type === 'inspection') {
      const inspection = this.#inspections.take(report.id, device.id, report.inspection.devices)
      if (inspection) this.#events?.report(inspection)
    } else this.#events?.report(this.#router.report(device, report))
  }

  #inspect(id: number): void {
    this.#inspections.begin(id, [...this.#processes.keys()])
    for (const process of this.#processes.values()) process.send({ type: 'inspect', id })
  }

  /** The guest stopped by itself. Its devices keep running, since the screen can still be read. */
  #guestEnded(reason: StopReason): void {
    if (this.#stopping || this.#ended) return
    this.#ended = reason
    this.#events?.report({ type: 'ended', reason })
    this.#qemu?.kill('SIGTERM')
  }

  /** QEMU or a device process exited unexpectedly, which ends the guest. */
  #fail(why: string): void {
    if (this.#stopping || this.#ended) return
    this.#ended = { kind: 'failure', message: why }
    void this.#end().then(() => this.#events?.exited(why))
  }

  async #stop(): Promise<void> {
    await this.#end()
    this.#events?.report({ type: 'stopped' })
  }

  /** Stops the guest first, then its devices, which complete requests in flight. */
  #end(): Promise<void> {
    this.#stopping ??= (async () => {
      const qemu = this.#qemu
      qemu?.kill('SIGTERM')
      this.#serial?.close()
      const timeout = setTimeout(() => qemu?.kill('SIGKILL'), QEMU_TIMEOUT_MS)
      await this.#qemuEnded
      clearTimeout(timeout)
      for (const screens of this.#screens.values()) screens.close()
      await Promise.all([...this.#processes.values()].map((process) => process.stop()))
      if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true })
    })()
    return this.#stopping
  }
}

/** Adds an export socket, at which the pixels are read in place. A GPU that has one keeps it. */
function exportedTo(socket: string, settings: Settings): Settings {
  // Only this user can enter the socket's folder.
  return settings['export'] === undefined ? { ...settings, export: socket, 'export-memory': true } : settings
}

function diskSettings({ path: file, readOnly, format = 'raw', logicalBlockSize = 512 }: QemuDisk): Settings {
  return {
    'blk-file': file,
    format,
    'logical-block-size': `${logicalBlockSize}`,
    ...(readOnly && { 'read-only': true }),
  }
}

/** Answers of several devices to one question. */
class Inspections {
  readonly #open = new Map<number, Map<string, readonly DeviceInspection[] | undefined>>()

  /** @param devices order of the devices in the answer */
  begin(id: number, devices: readonly string[]): void {
    this.#open.set(id, new Map(devices.map((device) => [device, undefined])))
  }

  /** Adds an answer. @returns the whole inspection, when it is complete */
  take(id: number, device: string, answer: readonly DeviceInspection[]): Report | undefined {
    const answers = this.#open.get(id)
    if (!answers?.has(device)) return undefined
    answers.set(device, answer)
    const devices = [...answers.values()]
    if (devices.some((one) => one === undefined)) return undefined
    this.#open.delete(id)
    return { type: 'inspection', id, inspection: { devices: devices.flatMap((one) => one ?? []) } }
  }
}
