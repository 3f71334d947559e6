import { limitedLog } from '../../../log/limited-log.ts'
import type { DeviceStateInspection } from '../../../virtio/device-inspection.ts'
import { AcceptLoop, type AcceptReactor, type PeerSource } from '../../socket/accept-loop.ts'
import { mergeInspections } from './merged-inspection.ts'
import { type QueueGroup, Splitter } from './splitter.ts'

/** A group that can be looked at. */
export interface InspectedGroup extends QueueGroup {
  inspect(): Promise<DeviceStateInspection>
}

export interface QueueGroupServerOptions {
  /** The device's, for lines of the log. */
  readonly name: string
  readonly log: (line: string) => void
}

/**
 * Serves a device whose rings belong to several groups, to one front-end after another.
 *
 *     const server = new QueueGroupServer(groups, UnixListener.listen('/run/disk.sock'), reactor, { name: 'disk', log })
 *     await reactor.run()
 */
export class QueueGroupServer {
  readonly #groups: readonly InspectedGroup[]
  readonly #reception: AcceptLoop<Splitter>

  constructor(
    groups: readonly InspectedGroup[],
    frontEnds: PeerSource,
    reactor: AcceptReactor,
    options: QueueGroupServerOptions,
  ) {
    const log = limitedLog((line) => options.log(`${options.name}: ${line}`))
    this.#groups = groups
    this.#reception = new AcceptLoop(
      frontEnds,
      'front-end',
      reactor,
      (stream) => new Splitter(groups, stream, reactor, log),
      log,
    )
  }

  /** Resolves when no front-end is served any more, and none will be. */
  get over(): Promise<void> {
    return this.#reception.over
  }

  /** The device, and what the front-end there is made of it. */
  async inspect(): Promise<DeviceStateInspection> {
    return mergeInspections(await Promise.all(this.#groups.map((group) => group.inspect())))
  }

  /** Serves no more: the front-end there is is left when what it asked for is done. */
  close(): void {
    this.#reception.close()
  }
}
