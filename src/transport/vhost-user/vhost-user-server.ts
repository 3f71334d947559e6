import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { StreamConnection } from '../../host/socket/stream-connection.ts'
import { limitedLog } from '../../log/limited-log.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { type DeviceStateInspection, inspectDevice } from '../../virtio/device-inspection.ts'
import { AcceptLoop, type PeerSource } from '../socket/accept-loop.ts'
import type { Found } from './shared-objects.ts'
import { vhostFeatures } from './vhost-features.ts'
import { VhostUserBackend, type VhostUserBackendOptions } from './vhost-user-backend.ts'

export type ServerReactor = Pick<Reactor, 'watch' | 'signal' | 'onTurn' | 'poll' | 'settle' | 'timer'>

/**
 * Serves a device to one front-end after another. Those that come meanwhile wait.
 *
 *     const server = serveVhostUser(device, UnixListener.listen('/run/disk.sock'), reactor, { log })
 *     await reactor.run()
 *     ...
 *     server.close()                         // what is in flight ends first
 *     await server.over
 */
export class VhostUserServer {
  readonly #device: VirtioDevice
  readonly #reception: AcceptLoop<VhostUserBackend>

  constructor(device: VirtioDevice, frontEnds: PeerSource, reactor: ServerReactor, options: VhostUserBackendOptions) {
    this.#device = device
    const log = limitedLog(options.log)
    this.#reception = new AcceptLoop(
      frontEnds,
      'front-end',
      reactor,
      (stream) =>
        new VhostUserBackend(device, (receiver) => new StreamConnection(stream, reactor, receiver), reactor, {
          ...options,
          log,
        }),
      (line) => log(`${device.name}: ${line}`),
    )
  }

  /** Resolves when no front-end is served any more, and none will be. */
  get over(): Promise<void> {
    return this.#reception.over
  }

  /** The device, and what the front-end there is made of it. */
  inspect(): DeviceStateInspection {
    return this.#reception.service?.inspect() ?? inspectUnserved(this.#device)
  }

  /** @see VhostUserBackend.lookup */
  lookup(uuid: Uint8Array, found: Found): void {
    const { service } = this.#reception
    if (service) service.lookup(uuid, found)
    else found({ reason: 'no front-end is here' })
  }

  /** Serves no more: the front-end there is is left when what it asked for is done. */
  close(): void {
    this.#reception.close()
  }
}

/** A device that no front-end has. */
export function inspectUnserved(device: VirtioDevice): DeviceStateInspection {
  const queues = device.queueSizes.map((size) => ({ size, enabled: false, live: undefined }))
  return inspectDevice(device, { status: 0, offered: vhostFeatures(device), negotiated: 0n, queues })
}

/** Serves a device to whoever comes. The listener or stream is the server's from now on. */
export function serveVhostUser(
  device: VirtioDevice,
  frontEnds: PeerSource,
  reactor: ServerReactor,
  options: VhostUserBackendOptions,
): VhostUserServer {
  return new VhostUserServer(device, frontEnds, reactor, options)
}
