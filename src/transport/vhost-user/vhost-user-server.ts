import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { type DeviceStateInspection, inspectDevice } from '../../virtio/device-inspection.ts'
import { offeredFeatures } from '../../virtio/negotiation.ts'
import { StreamConnection } from './stream-connection.ts'
import { VhostUserBackend, type VhostUserBackendOptions } from './vhost-user-backend.ts'

/** A front-end that listens, and is called until it answers, each time it is gone. */
interface ConnectTo {
  readonly connectTo: string
}

/** Where front-ends come from: those that call here, the one that did already, or one that has to be called. */
export type FrontEnds = UnixListener | UnixStream | ConnectTo

export type ServerReactor = Pick<Reactor, 'watch' | 'signal' | 'onTurn' | 'settle' | 'timer'>

/** Between attempts to reach a front-end. */
const RETRY_MS = 500

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
  /** Resolves when no front-end is served any more, and none will be. */
  readonly over: Promise<void>
  readonly #device: VirtioDevice
  readonly #frontEnds: FrontEnds
  readonly #reactor: ServerReactor
  readonly #options: VhostUserBackendOptions
  #backend: VhostUserBackend | undefined
  /** What waits for the next front-end. */
  #waiting: Closable | undefined
  #closed = false
  #finished: () => void = () => {}

  constructor(device: VirtioDevice, frontEnds: FrontEnds, reactor: ServerReactor, options: VhostUserBackendOptions) {
    this.over = new Promise((resolve) => {
      this.#finished = resolve
    })
    this.#device = device
    this.#frontEnds = frontEnds
    this.#reactor = reactor
    this.#options = options
    this.#next()
  }

  /** A front-end is being served. */
  get connected(): boolean {
    return this.#backend !== undefined
  }

  /** The device, and what the front-end there is made of it. */
  inspect(): DeviceStateInspection {
    const device = this.#device
    const queues = device.queueSizes.map((size) => ({ size, enabled: false, live: undefined }))
    const idle = { status: 0, offered: offeredFeatures(device), negotiated: 0n, queues }
    return this.#backend?.inspect() ?? inspectDevice(device, idle)
  }

  /** Serves no more: the front-end there is is left when what it asked for is done. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#waiting?.close()
    this.#waiting = undefined
    if (this.#frontEnds instanceof UnixListener) this.#frontEnds.close()
    if (this.#backend) this.#backend.close()
    else this.#finish()
  }

  /** Waits for the next front-end. */
  #next(): void {
    const frontEnds = this.#frontEnds
    if (frontEnds instanceof UnixStream) this.#serve(frontEnds)
    else if (frontEnds instanceof UnixListener) this.#listen(frontEnds)
    else this.#call(frontEnds.connectTo)
  }

  #listen(listener: UnixListener): void {
    this.#waiting = this.#reactor.watch(listener.fd, () => {
      const stream = this.#attempt(() => listener.accept())
      if (stream) this.#serve(stream)
    })
  }

  #call(path: string): void {
    this.#waiting = this.#reactor.timer(0, () => {
      const stream = this.#attempt(() => UnixStream.connect(path))
      if (stream) this.#serve(stream)
      else this.#waiting = this.#reactor.timer(RETRY_MS, () => this.#call(path))
    })
  }

  #attempt(get: () => UnixStream | undefined): UnixStream | undefined {
    try {
      return get()
    } catch (error) {
      this.#options.log(`${this.#device.name}: ${error instanceof Error ? error.message : String(error)}`)
      return undefined
    }
  }

  #serve(stream: UnixStream): void {
    this.#waiting?.close()
    this.#waiting = undefined
    this.#options.log(`${this.#device.name}: a front-end is here`)
    this.#backend = new VhostUserBackend(
      this.#device,
      (receiver) => new StreamConnection(stream, this.#reactor, receiver),
      this.#reactor,
      this.#options,
    )
    void this.#backend.over.then(() => this.#left())
  }

  #left(): void {
    this.#backend = undefined
    if (this.#closed || this.#frontEnds instanceof UnixStream) this.#finish()
    else this.#next()
  }

  #finish(): void {
    this.#finished()
    // Promises run when somebody waits for one.
    this.#reactor.settle(this.over)
  }
}

/** Serves a device to whoever comes. The listener or stream is the server's from now on. */
export function serveVhostUser(
  device: VirtioDevice,
  frontEnds: FrontEnds,
  reactor: ServerReactor,
  options: VhostUserBackendOptions,
): VhostUserServer {
  return new VhostUserServer(device, frontEnds, reactor, options)
}
