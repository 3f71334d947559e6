import type { Recipe } from '../guest-image/recipe.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import type { Log } from '../log/device-log.ts'
import type { MachineCommand, Report } from '../machine/messages.ts'
import type { SavedState } from '../snapshot/saved-state.ts'
import type { VhostUserExtension } from '../transport/vhost-user/extension.ts'
import type { InspectedGroup } from '../transport/vhost-user/queue-groups/queue-group-server.ts'
import type { SharedObjects } from '../transport/vhost-user/shared-objects.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import type { DeviceId } from '../virtio/device-id.ts'
import type { OptionTable, OptionValues } from './options.ts'

/**
 * Kind of device: everything that commands, engines, packaging files and the page know of it.
 *
 *     export const entropyKind = deviceKind({
 *       name: 'entropy',
 *       id: DeviceId.ENTROPY,
 *       summary: 'random bytes of the host',
 *       options: {},
 *       open: () => ({}),
 *       build: () => ({ device: new EntropyDevice(cryptoRandomSource) }),
 *       vhostUser: { type: 'rng' },
 *       qemu: { driver: 'vhost-user-rng-pci' },
 *       guestModules: ['virtio_rng'],
 *     })
 */
export interface DeviceKind<Table extends OptionTable = OptionTable, Opened = unknown> {
  /** Name of the command and in machines: one word in lower case. */
  readonly name: string
  readonly id: DeviceId
  /** One line for lists; begins in lower case. */
  readonly summary: string
  readonly options: Table
  /** Command lines, shown below the options. */
  readonly examples?: string
  /**
   * Opens what the options name: files, sockets, interfaces, other programs. Everything that needs rights belongs here.
   * @throws {UsageError}
   */
  open(options: OptionValues<Table>, host: DeviceHost): Opened | Promise<Opened>
  /** Builds the device. Opens nothing. @throws {UsageError} for options that the device does not take */
  build(opened: Opened, options: OptionValues<Table>, host: DeviceHost): Served | Promise<Served>
  /** Releases what `open` returned, after the device was closed. */
  close?(opened: Opened): void | Promise<void>
  /** Commands of a machine that the device handles. @default [] */
  commands?(options: OptionValues<Table>): readonly MachineCommand['type'][]
  /** Description for management software. @vhost-user Backend program conventions */
  readonly vhostUser: {
    readonly type: string
    /** Options of that specification that it has. @default [] */
    readonly features?: readonly string[]
  }
  readonly qemu: QemuFrontEnd
  /** Kernel modules of its driver, and of those that a guest needs to use it. */
  readonly guestModules: readonly string[]
  /** Architectures whose kernels have these modules. @default all */
  readonly guestArchitectures?: readonly Recipe['architecture'][]
  /** Presentation of its state in the inspector beside the plain values. */
  readonly panel?: 'gpu' | undefined
}

/** Front-end of QEMU for a vhost-user device. */
export type QemuFrontEnd = {
  /** Properties besides `chardev`, such as `disable-legacy=on`. @default [] */
  readonly properties?: readonly string[]
  /** Properties that repeat an option of the device: property by option, both in kebab case. @default {} */
  readonly repeats?: Readonly<Record<string, string>>
  /** The front-end is connected through `-netdev vhost-user`. @default false */
  readonly netdev?: boolean
  /** Other front-ends of QEMU that it works with. @default [] */
  readonly alternatives?: readonly string[]
  /** Order among devices that firmware boots from, 1 first. Devices without it are not booted from. */
  readonly bootOrder?: number
} & (
  | { readonly driver: string }
  /** A device that QEMU has no front-end for: the generic one must be given these numbers. */
  | { readonly generic: { readonly queues: number; readonly queueSize: number; readonly configBytes: number } }
)

/** Environment of a device. */
export interface DeviceHost {
  /** How the driver reaches the device. */
  readonly transport: 'vhost-user' | 'vfio-user' | 'virtio-pci'
  /** Reactor of a device process. An emulator's thread has none: Node's event loop serves its I/O. */
  readonly reactor?: Reactor
  readonly log: Log
  /** Ends the process, or the machine, with this error. */
  readonly fail: (error: Error) => void
  /** Restores a snapshot although a file that it refers to has changed since. @default false */
  readonly acceptsChanges?: boolean
  /** Reports to the machine that the device belongs to. Undefined if it serves a monitor that is not ours. */
  readonly report?: (report: Report) => void
}

interface ServedParts {
  /** Executes a command of the machine. */
  handle?(command: MachineCommand): void
  /** SIGHUP: what it serves may have changed. */
  refresh?(): void
  /** State for the inspector, besides the device's own. */
  inspect?(): Record<string, unknown>
  /** Returns the state besides that of the device, for a snapshot of the machine. @throws {SnapshotError} */
  save?(): SavedState
  /**
   * Takes such a state. Called before the guest runs; `resumed` follows.
   * @throws {SnapshotError} if it is not valid, or does not belong to what the options name
   */
  restore?(state: SavedState): void
  /** Called when the guest runs again after `save` or `restore`. */
  resumed?(): void
  /** Called when nothing is in flight. */
  close?(): void | Promise<void>
}

/** Device that one thread serves. */
export interface ServedDevice extends ServedParts {
  readonly device: VirtioDevice
  /** Messages of vhost-user for this kind of device. */
  readonly extension?: VhostUserExtension
  /** Objects that other devices of the guest can look up. */
  readonly objects?: SharedObjects
}

/** Device whose queues are served by threads of their own. */
export interface ServedGroups extends ServedParts {
  readonly name: string
  readonly groups: readonly InspectedGroup[]
}

export type Served = ServedDevice | ServedGroups

/** Checks the types of a kind of device. */
export function deviceKind<const Table extends OptionTable, Opened>(
  kind: DeviceKind<Table, Opened>,
): DeviceKind<Table, Opened> {
  return kind
}
