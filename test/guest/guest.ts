import { AMD64_IMAGE, I386_IMAGE } from '../../src/catalogue/guest-images.ts'
import type { DeviceTransport } from '../../src/device-process/socket.ts'
import type { GuestNetwork } from '../../src/engines/qemu/guest-network.ts'
import { createQemuMachine } from '../../src/engines/qemu/machine.ts'
import { createV86Machine } from '../../src/engines/v86/machine.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { MAIN } from '../qemu/device-program.ts'
import { qemu, qemuMissing, vfioUserMissing } from '../qemu/guest.ts'

/** What executes guests; every check of a guest is made in each. */
export const ENGINES = ['v86', 'qemu'] as const
/** And QEMU with whole PCI functions of ours: for a check of each device, so that it takes not as long again. */
export const ALL_ENGINES = [...ENGINES, 'qemu over vfio-user'] as const
export type Engine = (typeof ALL_ENGINES)[number]

export interface GuestOptions {
  /** v86 unless told. */
  readonly engine?: Engine
  readonly disks?: readonly { readonly path: string; readonly readOnly: boolean }[]
  /** Whether the GPU offers blob resources; it does unless told. */
  readonly blob?: boolean
  /** In QEMU. */
  readonly network?: GuestNetwork
}

/** What a command in the guest printed, and how it ended. */
interface Ran {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A booted guest. */
export interface Guest {
  readonly machine: Machine
  run(command: string): Promise<Ran>
  stop(): Promise<void>
}

/** Why no guest can be booted here, or undefined where one can. */
export function guestMissing(engine: Engine): string | undefined {
  if (engine === 'qemu') return qemuMissing
  if (engine === 'qemu over vfio-user') return qemuMissing ?? vfioUserMissing
  return findGuestImage(I386_IMAGE)
    ? undefined
    : 'there is no guest image, which apt fetches: apt-get install apt, and a way to the Debian archive'
}

/** Boots the guest image, and resolves when commands can be run. A guest that fails rejects with all it said. */
export async function bootGuest({ engine = 'v86', disks = [], blob = true, network }: GuestOptions): Promise<Guest> {
  const machine =
    engine === 'v86'
      ? machineInV86({ disks, blob })
      : machineInQemu(engine === 'qemu' ? 'vhost-user' : 'vfio-user', { disks, blob, ...(network && { network }) })
  const said: string[] = []
  machine.listen({ progress: (step) => said.push(step), log: (line) => said.push(line) })
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

type MachineOptions = Required<Pick<GuestOptions, 'disks' | 'blob'>> & Pick<GuestOptions, 'network'>

function machineInV86(options: MachineOptions): Machine {
  const image = findGuestImage(I386_IMAGE)
  if (!image) throw new Error('no guest image')
  return createV86Machine({ ...image, memoryMiB: 256, ...options })
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
