import { limitedLog } from '../../../log/limited-log.ts'
import type { DeviceStateInspection } from '../../../virtio/device-inspection.ts'
import { AcceptLoop, type AcceptReactor, type PeerSource } from '../../socket/accept-loop.ts'
import { mergeInspections } from './merged-inspection.ts'
import { type QueueGroup, Splitter } from './splitter.ts'

/** Group with an inspection. */
export interface InspectedGroup extends QueueGroup {
  inspect(): Promise<DeviceStateInspection>
}

export interface QueueGroupServerOptions {
  /** Name of the device, for log lines. */
  readonly name: string
  readonly log: (line: string) => void
}

/**
 * Server of a device whose rings belong to several groups: serves one front-end after another.
 *
 *     const server = new QueueGroupServer(groups, UnixListener.listen('/run/disk.sock'), reactor, { name: 'disk', log })
 *     await reactor.run()
 */
export class QueueGroupServer {
  readonly #groups: readonly InspectedGroup[]
  readonly #acceptLoop: AcceptLoop<Splitter>

  constructor(
    groups: readonly InspectedGroup[],
    frontEnds: PeerSource,
    reactor: AcceptReactor,
    options: QueueGroupServerOptions,
  ) {
    const log = limitedLog((line) => options.log(`${options.name}: ${line}`))
    this.#groups = groups
    this.#acceptLoop = new AcceptLoop(
      frontEnds,
      'front-end',
      reactor,
      (stream) => new Splitter(groups, stream, reactor, log),
      log,
    )
  }

  /** Resolves when the server is closed and the last connection ended. */
  get closed(): Promise<void> {
    return this.#acceptLoop.closed
  }

  /** Returns the state of the device, and of the current connection. */
  async inspect(): Promise<DeviceStateInspection> {
    return mergeInspections(await Promise.all(this.#groups.map((group) => group.inspect())))
  }

  /** Closes the server. The current connection ends when no request is in flight. */
  close(): void {
    this.#acceptLoop.close()
  }
}
