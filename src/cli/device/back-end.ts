import type { Option } from 'commander'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { MachineCommand, Report } from '../../machine/messages.ts'
import type { InspectedGroup } from '../../transport/vhost-user/queue-groups/queue-group-server.ts'
import type { SharedObjects } from '../../transport/vhost-user/shared-objects.ts'
import type { GpuScreen, NetworkServices } from '../../transport/vhost-user/vhost-user-backend.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { Log } from './log.ts'

/** A kind of device process: its options, and how its device is made of them. */
export interface BackEnd<Options> {
  readonly name: string
  readonly summary: string
  /** What QEMU's vhost-user.json calls it, and which of the options that it knows there are. */
  readonly type: string
  readonly features: readonly string[]
  readonly options: readonly Option[]
  /** Shown below the options. */
  readonly examples?: string
  /** @throws {UsageError} or an error about a file, in one line */
  make(options: Options, host: BackEndHost): Served | Promise<Served>
}

/** What a device is made in. */
export interface BackEndHost {
  readonly reactor: Reactor
  readonly log: Log
  /** It cannot go on: the process ends with this error. */
  readonly fail: (error: Error) => void
  /** Takes what it tells the machine it belongs to, where `outboard run` started it. */
  readonly report?: (report: Report) => void
}

interface ServedSomehow {
  /** A command of the machine. */
  handle?(command: MachineCommand): void
  /** SIGHUP: what it serves may have changed. */
  refresh?(): void
  /** What the inspector shows besides the device's own state. */
  inspect?(): Record<string, unknown>
  /** Nothing is in flight any more. */
  close?(): void | Promise<void>
}

/** A device that the main thread serves. */
export interface ServedDevice extends ServedSomehow {
  readonly device: VirtioDevice
  /** What a network device does for a front-end besides. */
  readonly network?: NetworkServices
  /** Where a GPU shows its pictures, if that is the front-end. */
  readonly screen?: GpuScreen
  /** What other devices of the guest may have of it. */
  readonly objects?: SharedObjects
}

/** A device whose queues are served by threads of their own. */
export interface ServedGroups extends ServedSomehow {
  /** The device's. */
  readonly name: string
  readonly groups: readonly InspectedGroup[]
}

export type Served = ServedDevice | ServedGroups
