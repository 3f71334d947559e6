import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { socketPair, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { StreamConnection } from '../../../host/socket/stream-connection.ts'
import { Pending } from '../../../pending/pending.ts'
import { featureSet } from '../../../virtio/feature.ts'
import type { AcceptReactor, Service } from '../../socket/accept-loop.ts'
import { AnswerWithDescriptor, Dispatcher, type Handlers } from '../dispatcher.ts'
import { FrontEndMessage, type ReplyOf, type RequestOf } from '../messages.ts'
import { ProtocolFeature, VRING_INDEX_MASK } from '../protocol.ts'
import { type RemoteAnswer, RemoteBackEnd } from './remote-back-end.ts'

/**
 * Queue group: serves some of a device's rings. Of G groups, group g has rings g, g + G, g + 2G ...
 *
 * Each group has a device with all rings, so that none is renumbered, and receives only messages about its own.
 */
export interface QueueGroup {
  /** Serves a connection, without offering the features in `WITHHELD`. Takes ownership of the stream. */
  serve(stream: UnixStream): Service
}

/**
 * Features that groups do not offer: VRING_CALL and VRING_ERR need the back-end channel, which only the first group
 * has.
 */
export const WITHHELD = featureSet(ProtocolFeature.INBAND_NOTIFICATIONS)

/** Messages about one ring, whose index is the low byte of a number. */
const NUMBERED: readonly FrontEndMessage[] = ['SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR']
/** Messages with a descriptor that only one group can own. */
const FIRST_ONLY: readonly FrontEndMessage[] = ['GET_INFLIGHT_FD', 'SET_BACKEND_REQ_FD', 'GPU_SET_SOCKET']

/**
 * Splitter: connects one front-end to several back-ends, each with some of the rings. Messages are passed to the groups
 * that they concern, and answered when all of them answered.
 *
 *     front-end ---- Dispatcher ---+--- RemoteBackEnd ---- group 0: rings 0, 2
 *                                  +--- RemoteBackEnd ---- group 1: rings 1, 3
 *
 * The splitter passes messages only. The groups use the descriptors in them directly: guest memory with the rings,
 * kicks, interrupts and the in-flight area.
 */
export class Splitter implements Service {
  readonly closed: Promise<string | undefined>
  readonly #remotes: readonly RemoteBackEnd[]
  readonly #services: readonly Service[]
  readonly #dispatcher: Dispatcher
  /** Descriptor of the last reply to GET_INFLIGHT_FD. */
  #sent: Descriptor | undefined
  /** True if the groups already logged the reason of the next refusal. */
  #refusalLogged = false
  /** True while groups close their connections on request. */
  #closing = false
  #reason: string | undefined

  /** Takes ownership of the stream. */
  constructor(
    groups: readonly QueueGroup[],
    stream: UnixStream,
    private readonly reactor: AcceptReactor,
    log: (line: string) => void,
  ) {
    const ends = groups.map((_, i) => socketPair(`queue group ${i}`))
    this.#remotes = ends.map(
      ([ours]) =>
        new RemoteBackEnd(
          (receiver) => new StreamConnection(ours, reactor, receiver),
          (reason) => this.#remoteEnded(reason),
        ),
    )
    this.#services = groups.map((group, i) => group.serve(ends[i][1]))
    this.closed = Promise.all(this.#services.map((service) => service.closed)).then(
      (reasons) => reasons.find((reason) => reason !== undefined) ?? this.#reason,
    )
    this.#dispatcher = new Dispatcher((receiver) => new StreamConnection(stream, reactor, receiver), this.#handlers(), {
      reactor,
      lost: (reason) => this.#lost(reason),
      log: (line) => {
        if (!this.#refusalLogged) log(line)
        this.#refusalLogged = false
      },
    })
  }

  close(): void {
    this.#dispatcher.stop(() => {
      this.#closing = true
      for (const service of this.#services) service.close()
      const closed = new Pending()
      this.reactor.settle(this.closed.then(() => closed.finish()))
      return closed
    })
  }

  #handlers(): Handlers {
    const pass = (name: FrontEndMessage) => [
      name,
      async (request: never, descriptors: readonly Descriptor[]) =>
        (await this.#pass(name, request, descriptors))[0].value,
    ]
    return {
      ...(Object.fromEntries(Object.keys(FrontEndMessage).map((name) => pass(name as FrontEndMessage))) as Handlers),
      SET_PROTOCOL_FEATURES: async (features) => {
        await this.#pass('SET_PROTOCOL_FEATURES', features | featureSet(ProtocolFeature.REPLY_ACK), [])
        this.#dispatcher.protocolFeatures = features
      },
      GET_STATUS: async () => {
        const answers = await this.#pass('GET_STATUS', undefined, [])
        return answers.reduce((status, { value }) => status | value, 0)
      },
      GET_INFLIGHT_FD: async (request) => {
        const [{ value, descriptors }] = await this.#pass('GET_INFLIGHT_FD', request, [])
        this.#sent?.close()
        this.#sent = descriptors[0]
        return new AnswerWithDescriptor(value, descriptors[0])
      },
    }
  }

  /** Passes a message to the groups that it concerns. @returns their replies; rejects if one refused it */
  async #pass<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[],
  ): Promise<RemoteAnswer<ReplyOf<N>>[]> {
    this.#refusalLogged = false
    const remotes = this.#remotesFor(name, request)
    const outcomes = await Promise.allSettled(remotes.map((remote) => remote.ask(name, request, descriptors)))
    const answers = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    const refused = outcomes.find((outcome) => outcome.status === 'rejected')
    if (!refused) {
      for (const descriptor of descriptors) descriptor.close()
      return answers
    }
    this.#refusalLogged = true
    if (answers.length > 0) {
      // Groups that accepted cannot revert, and a device in two states cannot be served.
      this.#reason = `${name} was refused by some queue groups and accepted by others`
      this.#dispatcher.stop(() => {})
    }
    throw refused.reason
  }

  #remotesFor(name: FrontEndMessage, request: unknown): readonly RemoteBackEnd[] {
    if (FIRST_ONLY.includes(name)) return this.#remotes.slice(0, 1)
    const ring = NUMBERED.includes(name) ? Number(request) & VRING_INDEX_MASK : ringOf(request)
    if (ring === undefined) return this.#remotes
    const group = ring % this.#remotes.length
    return this.#remotes.slice(group, group + 1)
  }

  #remoteEnded(reason: string | undefined): void {
    if (!this.#closing) this.#dispatcher.ended(reason ?? 'a queue group closed the connection')
  }

  #lost(reason: string | undefined): void {
    this.#closing = true
    this.#reason ??= reason
    for (const remote of this.#remotes) remote.close()
    this.#sent?.close()
    this.reactor.settle(this.closed)
  }
}

/** Returns the ring that a message is about, if any. */
function ringOf(request: unknown): number | undefined {
  return typeof request === 'object' && request !== null && 'index' in request ? Number(request.index) : undefined
}
