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
 * Server of a device: serves one front-end after another. Further connections wait.
 *
 *     const server = serveVhostUser(device, UnixListener.listen('/run/disk.sock'), reactor, { log })
 *     await reactor.run()
 *     ...
 *     server.close()                         // completes the requests in flight first
 *     await server.closed
 */
export class VhostUserServer {
  readonly #device: VirtioDevice
  readonly #acceptLoop: AcceptLoop<VhostUserBackend>

  constructor(device: VirtioDevice, frontEnds: PeerSource, reactor: ServerReactor, options: VhostUserBackendOptions) {
    this.#device = device
    const log = limitedLog(options.log)
    this.#acceptLoop = new AcceptLoop(
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

  /** Resolves when the server is closed and the last connection ended. */
  get closed(): Promise<void> {
    return this.#acceptLoop.closed
  }

  /** Returns the state of the device, and of the current connection. */
  inspect(): DeviceStateInspection {
    return this.#acceptLoop.service?.inspect() ?? inspectUnserved(this.#device)
  }

  /** @see VhostUserBackend.lookup */
  lookup(uuid: Uint8Array, found: Found): void {
    const { service } = this.#acceptLoop
    if (service) service.lookup(uuid, found)
    else found({ reason: 'no front-end is connected' })
  }

  /** Closes the server. The current connection ends when no request is in flight. */
  close(): void {
    this.#acceptLoop.close()
  }
}

/** Inspection of a device without a front-end. */
export function inspectUnserved(device: VirtioDevice): DeviceStateInspection {
  const queues = device.queueSizes.map((size) => ({ size, enabled: false, live: undefined }))
  return inspectDevice(device, { status: 0, offered: vhostFeatures(device), negotiated: 0n, queues })
}

/** Serves a device to front-ends. The server owns the listener or stream. */
export function serveVhostUser(
  device: VirtioDevice,
  frontEnds: PeerSource,
  reactor: ServerReactor,
  options: VhostUserBackendOptions,
): VhostUserServer {
  return new VhostUserServer(device, frontEnds, reactor, options)
}
