import type { Option } from 'commander'
import type { Command, Report } from '../engines/guest/messages.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import type { NetworkServices } from '../transport/vhost-user/vhost-user-backend.ts'
import type { VirtioDevice } from '../virtio/device.ts'
import type { Log } from './device-log.ts'

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
  make(options: Options, host: BackEndHost): ServedDevice | Promise<ServedDevice>
}

/** What a device is made in. */
export interface BackEndHost {
  readonly reactor: Reactor
  readonly log: Log
  /** Takes what it tells the machine it belongs to, where `outboard run` started it. */
  readonly report?: (report: Report) => void
}

export interface ServedDevice {
  readonly device: VirtioDevice
  /** What a network device does for a front-end besides. */
  readonly network?: NetworkServices
  /** A command of the machine. */
  obey?(command: Command): void
  /** SIGHUP: what it serves may have changed. */
  refresh?(): void
  /** Nothing is in flight any more. */
  close?(): void | Promise<void>
}
