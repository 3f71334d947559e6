import { AMD64_IMAGE, I386_IMAGE } from '../../src/catalogue/guest-images.ts'
import type { AddedDevice } from '../../src/catalogue/machine-device.ts'
import type { DeviceTransport } from '../../src/device-process/socket.ts'
import type { GuestNetwork } from '../../src/engines/qemu/guest-network.ts'
import { createQemuMachine } from '../../src/engines/qemu/machine.ts'
import { readBootedGuest } from '../../src/engines/v86/booted-guest.ts'
import { createV86Machine } from '../../src/engines/v86/machine.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { MAIN } from '../qemu/device-program.ts'
import { qemu, qemuMissing, vfioUserMissing } from '../qemu/guest.ts'

/** Engines; every test of a guest runs in each. */
export const ENGINES = ['v86', 'qemu'] as const
/** Engines, and QEMU with vfio-user functions. Used for one test per device, to save time. */
export const ALL_ENGINES = [...ENGINES, 'qemu over vfio-user'] as const
export type Engine = (typeof ALL_ENGINES)[number]

export interface GuestOptions {
  /** @default 'v86' */
  readonly engine?: Engine
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[]
  /** True if the GPU offers blob resources. @default true */
  readonly blob?: boolean
  /** Devices besides the standard ones. @default [] */
  readonly devices?: readonly AddedDevice[]
  /** True to boot in v86, although a guest with only the standard devices can start from a snapshot. @default false */
  readonly cold?: boolean
  /** Snapshot that the guest continues from, in v86. */
  readonly snapshot?: Uint8Array
  /** Receives the terminal's output from the start. */
  readonly terminal?: (bytes: Uint8Array) => void
  /** In QEMU. */
  readonly network?: GuestNetwork
}

/** Output and exit status of a command in the guest. */
interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** Booted guest. */
export interface Guest {
  readonly machine: Machine
  run(command: string): Promise<Ran>
  stop(): Promise<void>
}

/** Reason why no guest can be booted; undefined if one can. */
export function guestMissing(engine: Engine): string | undefined {
  if (engine === 'qemu') return qemuMissing
  if (engine === 'qemu over vfio-user') return qemuMissing ?? vfioUserMissing
  return findGuestImage(I386_IMAGE)
    ? undefined
    : 'there is no guest image, which apt fetches: apt-get install apt, and a way to the Debian archive'
}

/** Boots the guest image, and resolves when commands can be run. Rejects with the log if the guest fails. */
export async function bootGuest(options: GuestOptions): Promise<Guest> {
  const { engine = 'v86', disks = [], blob = true, devices = [], cold = false, snapshot, network } = options
  const machine =
    engine === 'v86'
      ? await machineInV86({ disks, blob, devices }, cold, snapshot)
      : machineInQemu(engine === 'qemu' ? 'vhost-user' : 'vfio-user', {
          ...{ disks, blob, devices },
          ...(network && { network }),
        })
  const said: string[] = []
  machine.listen({ progress: (step) => said.push(step), log: (line) => said.push(line) })
  if (options.terminal) machine.listen({ terminal: options.terminal })
  const guest: Guest = { machine, run: (command) => run(machine, command), stop: () => machine.stop() }
  try {
    await machine.start()
    await guest.run('true')
    return guest
  } catch (error) {
    await machine.stop()
    throw new Error(`the guest did not boot: ${error}\n${said.join('\n')}`)
  }
}

type MachineOptions = Required<Pick<GuestOptions, 'disks' | 'blob' | 'devices'>> & Pick<GuestOptions, 'network'>

async function machineInV86(options: MachineOptions, cold: boolean, given?: Uint8Array): Promise<Machine> {
  const image = findGuestImage(I386_IMAGE)
  if (!image) throw new Error('no guest image')
  const standard = options.disks.length === 0 && options.devices.length === 0 && options.blob
  const snapshot = given ?? (standard && !cold ? await readBootedGuest(image) : undefined)
  return createV86Machine({ ...image, ...options, ...(snapshot && { snapshot }) })
}

function machineInQemu(transport: DeviceTransport, options: MachineOptions): Machine {
  const boot = findGuestImage(AMD64_IMAGE)
  if (!boot) throw new Error('no guest image for QEMU')
  const deviceProgram = { command: process.execPath, args: [MAIN, 'device'] }
  return createQemuMachine({
    ...{ qemu: qemu().program, accelerator: 'tcg', memoryMiB: 512, boot, deviceProgram, transport },
    ...options,
  })
}

async function run(machine: Machine, command: string): Promise<Ran> {
  const out = { stdout: new TextDecoder(), stderr: new TextDecoder() }
  let stdout = ''
  let stderr = ''
  const status = await machine.exec(command, {
    stdout: (bytes) => {
      stdout += out.stdout.decode(bytes, { stream: true })
    },
    stderr: (bytes) => {
      stderr += out.stderr.decode(bytes, { stream: true })
    },
  })
  return { status, stdout, stderr }
}
