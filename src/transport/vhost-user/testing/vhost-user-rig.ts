import { socketPair } from '../../../host/linux/unix-stream.ts'
import { StreamConnection } from '../../../host/socket/stream-connection.ts'
import type { VirtioDevice } from '../../../virtio/device.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { EchoClient } from '../../../virtio/testing/echo-client.ts'
import { HandReactor } from '../../socket/testing/hand-reactor.ts'
import { ProtocolFeature, VhostFeature } from '../protocol.ts'
import { VhostUserBackend, type VhostUserBackendOptions } from '../vhost-user-backend.ts'
import { FrontEnd } from './front-end.ts'
import { GuestSide } from './guest-side.ts'
import { shareMemory, startRing } from './start-ring.ts'

export interface RigOptions {
  /** Existing guest. @default a new one */
  readonly guest?: GuestSide
  readonly extension?: VhostUserBackendOptions['extension']
  readonly objects?: VhostUserBackendOptions['objects']
}

/**
 * Device behind a back-end, front-end, and guest memory that both share. Uses real descriptors and a `HandReactor`.
 *
 *     const rig = new VhostUserRig(new EchoDevice())
 *     rig.start()
 *     rig.echo(0, [1, 2])      // 1, 2
 *     rig.close()
 */
export class VhostUserRig {
  readonly reactor = new HandReactor()
  readonly backend: VhostUserBackend
  readonly frontEnd: FrontEnd
  readonly guest: GuestSide
  readonly logged: string[] = []
  closed = false
  /** Reason why the connection ended; undefined if the front-end closed it. */
  reason: string | undefined
  features = 0n
  readonly #device: VirtioDevice
  readonly #client: EchoClient

  constructor(device: VirtioDevice, options: RigOptions = {}) {
    const { guest = new GuestSide(), extension, objects } = options
    this.#device = device
    this.guest = guest
    const [ours, theirs] = socketPair('a connection')
    this.backend = new VhostUserBackend(
      device,
      (receiver) => new StreamConnection(theirs, this.reactor, receiver),
      this.reactor,
      { log: (line) => this.logged.push(line), extension, objects },
    )
    void this.backend.closed.then((reason) => {
      this.closed = true
      this.reason = reason
    })
    this.frontEnd = new FrontEnd(ours, () => this.reactor.turn())
    this.#client = new EchoClient(guest.allocator, guest.queues, (queue) => this.kick(queue))
  }

  /**
   * Negotiates features.
   * @param wanted virtio features besides VERSION_1
   * @param protocol protocol features. @default all that are offered
   */
  negotiate(wanted = 0n, protocol?: bigint): void {
    const { frontEnd } = this
    frontEnd.send('SET_OWNER', undefined)
    const offered = frontEnd.ask('GET_FEATURES', undefined).value
    const protocolOffered = frontEnd.ask('GET_PROTOCOL_FEATURES', undefined).value
    frontEnd.send('SET_PROTOCOL_FEATURES', protocol ?? protocolOffered & ~featureSet(ProtocolFeature.GPA_ADDRESSES))
    this.features = (wanted | featureSet(Feature.VERSION_1, VhostFeature.PROTOCOL_FEATURES)) & offered
    frontEnd.send('SET_FEATURES', this.features)
  }

  shareMemory(): void {
    shareMemory(this.frontEnd, this.guest)
  }

  /** Sets up, starts and enables a ring. @param base position to start at. @default the first */
  startRing(index: number, base?: number): void {
    const { features } = this
    startRing(this.frontEnd, this.guest, { index, size: this.#device.queueSizes[index], features, base })
  }

  /** Negotiates, shares memory and starts all rings. @param wanted virtio features besides VERSION_1 */
  start(wanted = 0n): void {
    this.negotiate(wanted)
    this.shareMemory()
    for (let index = 0; index < this.#device.queueSizes.length; index++) this.startRing(index)
  }

  /** Stops a ring as a front-end does. @returns its position */
  stopRing(index: number): number {
    this.frontEnd.send('SET_VRING_ENABLE', { index, num: 0 })
    return this.frontEnd.ask('GET_VRING_BASE', { index, num: 0 }).value.num
  }

  kick(queue: number): void {
    this.guest.kicks[queue].signal()
    this.reactor.turn()
  }

  /** @see EchoClient.send */
  send(queue: number, bytes: readonly number[]): number {
    return this.#client.send(queue, bytes)
  }

  /** @see EchoClient.echo */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    return this.#client.echo(queue, bytes)
  }

  /** Closes the front-end's connection, and waits until the back-end has handled it. */
  async hangUp(): Promise<void> {
    this.frontEnd.close()
    await this.reactor.idle()
  }

  /** Closes front-end and guest. */
  async close(): Promise<void> {
    await this.hangUp()
    this.guest.close()
  }
}
