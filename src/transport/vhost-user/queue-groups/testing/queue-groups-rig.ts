import type { Descriptor } from '../../../../host/linux/descriptor.ts'
import { socketPair } from '../../../../host/linux/unix-stream.ts'
import { StreamConnection } from '../../../../host/socket/stream-connection.ts'
import type { VirtioDevice } from '../../../../virtio/device.ts'
import { Feature, featureSet } from '../../../../virtio/feature.ts'
import { EchoClient } from '../../../../virtio/testing/echo-client.ts'
import { HandReactor } from '../../../socket/testing/hand-reactor.ts'
import type { Answer } from '../../../socket/testing/peer-end.ts'
import type { FrontEndMessage, ReplyOf, RequestOf } from '../../messages.ts'
import { MessageFlag, ProtocolFeature, VhostFeature } from '../../protocol.ts'
import { FrontEnd } from '../../testing/front-end.ts'
import { GuestSide } from '../../testing/guest-side.ts'
import { shareMemory, startRing } from '../../testing/start-ring.ts'
import { VhostUserBackend } from '../../vhost-user-backend.ts'
import { type QueueGroup, Splitter, WITHHELD } from '../splitter.ts'

/**
 * Queue groups in this thread, splitter, front-end, and guest memory that all share.
 *
 *     const rig = new QueueGroupsRig([new EchoDevice(), new EchoDevice()])
 *     await rig.start()
 *     rig.echo(0, [1, 2])                    // 1, 2, by the first
 *     rig.echo(1, [3])                       // 3, by the second
 *     await rig.close()
 */
export class QueueGroupsRig {
  readonly reactor = new HandReactor()
  readonly splitter: Splitter
  readonly frontEnd: FrontEnd
  readonly guest: GuestSide
  /** Log lines of the splitter, and of each group. */
  readonly logged: string[] = []
  readonly groupLogged: string[][]
  closed = false
  reason: string | undefined
  features = 0n
  readonly #queueSizes: readonly number[]
  readonly #client: EchoClient

  constructor(devices: readonly VirtioDevice[], guest = new GuestSide()) {
    this.#queueSizes = devices[0].queueSizes
    this.guest = guest
    this.groupLogged = devices.map(() => [])
    const [ours, theirs] = socketPair('a connection')
    const groups = devices.map((device, i) => this.#group(device, this.groupLogged[i]))
    this.splitter = new Splitter(groups, theirs, this.reactor, (line) => this.logged.push(line))
    void this.splitter.closed.then((reason) => {
      this.closed = true
      this.reason = reason
    })
    this.frontEnd = new FrontEnd(ours, () => this.reactor.turn())
    this.#client = new EchoClient(guest.allocator, guest.queues, (queue) => this.kick(queue))
  }

  /** Sends a message that has a reply. @returns the reply */
  async ask<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<Answer<ReplyOf<N>>> {
    this.frontEnd.send(name, request, descriptors)
    await this.reactor.idle()
    return this.frontEnd.answerTo(name)
  }

  /** Sends a message and requests an acknowledgement. @returns 0 if the message was accepted */
  async acknowledged<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<number> {
    this.frontEnd.send(name, request, descriptors, MessageFlag.NEED_REPLY)
    await this.reactor.idle()
    return this.frontEnd.acknowledgementOf(name)
  }

  /** Negotiates features. @param wanted virtio features besides VERSION_1 */
  async negotiate(wanted = 0n): Promise<void> {
    this.frontEnd.send('SET_OWNER', undefined)
    const offered = (await this.ask('GET_FEATURES', undefined)).value
    const protocol = (await this.ask('GET_PROTOCOL_FEATURES', undefined)).value
    this.frontEnd.send('SET_PROTOCOL_FEATURES', protocol & ~featureSet(ProtocolFeature.GPA_ADDRESSES))
    this.features = (wanted | featureSet(Feature.VERSION_1, VhostFeature.PROTOCOL_FEATURES)) & offered
    this.frontEnd.send('SET_FEATURES', this.features)
    await this.reactor.idle()
  }

  /** Shares the guest memory, and starts all rings. */
  async startRings(): Promise<void> {
    const { features, frontEnd, guest } = this
    shareMemory(frontEnd, guest)
    for (const [index, size] of this.#queueSizes.entries()) startRing(frontEnd, guest, { index, size, features })
    await this.reactor.idle()
  }

  /** Negotiates, shares memory and starts all rings. @param wanted virtio features besides VERSION_1 */
  async start(wanted = 0n): Promise<void> {
    await this.negotiate(wanted)
    await this.startRings()
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

  /** Closes the front-end's connection, and waits until the groups have handled it. */
  async hangUp(): Promise<void> {
    this.frontEnd.close()
    await this.reactor.idle()
  }

  /** Closes front-end and guest. */
  async close(): Promise<void> {
    await this.hangUp()
    this.guest.close()
  }

  #group(device: VirtioDevice, logged: string[]): QueueGroup {
    const { reactor } = this
    return {
      serve: (stream) =>
        new VhostUserBackend(device, (receiver) => new StreamConnection(stream, reactor, receiver), reactor, {
          log: (line) => logged.push(line),
          withheld: WITHHELD,
        }),
    }
  }
}
