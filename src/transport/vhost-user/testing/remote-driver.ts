import { setTimeout } from 'node:timers/promises'
import type { Descriptor } from '../../../host/linux/descriptor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import type { Part } from '../../../virtqueue/driver/index.ts'
import { FrontEndMessage, type MessageKind, type ReplyOf, type RequestOf } from '../messages.ts'
import { ProtocolFeature, VhostFeature } from '../protocol.ts'
import { FrontEnd } from './front-end.ts'
import { GuestSide } from './guest-side.ts'
import { startRing, USER_BASE } from './start-ring.ts'

export interface RemoteDriverOptions {
  readonly queues: number
  readonly queueSize: number
  /** Virtio features to accept besides VERSION_1. */
  readonly features?: bigint
}

/** Timeout of each request and message. */
const TIMEOUT_MS = 120_000

/**
 * Driver and front-end of a back-end in another process, or on a reactor in this one.
 *
 *     const driver = await RemoteDriver.start(UnixStream.connect('/run/disk.sock'), { queues: 1, queueSize: 64 })
 *     const [data, status] = await driver.request(0, [header], [512, 1])
 *     driver.close()
 */
export class RemoteDriver {
  readonly guest = new GuestSide()
  readonly #frontEnd: FrontEnd

  private constructor(stream: UnixStream) {
    this.#frontEnd = new FrontEnd(stream, () => {})
  }

  static async start(stream: UnixStream, options: RemoteDriverOptions): Promise<RemoteDriver> {
    const driver = new RemoteDriver(stream)
    const { guest } = driver
    const wanted = featureSet(Feature.VERSION_1, VhostFeature.PROTOCOL_FEATURES) | (options.features ?? 0n)
    const features = wanted & (await driver.#ask('GET_FEATURES', undefined))
    const protocol = await driver.#ask('GET_PROTOCOL_FEATURES', undefined)
    const slots = featureSet(ProtocolFeature.REPLY_ACK, ProtocolFeature.CONFIGURE_MEM_SLOTS)
    driver.#frontEnd.send('SET_PROTOCOL_FEATURES', protocol & slots)
    driver.#frontEnd.send('SET_OWNER', undefined)
    driver.#frontEnd.send('SET_FEATURES', features)
    const region = { guestAddress: 0, size: guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
    driver.#frontEnd.send('ADD_MEM_REG', { region }, [guest.file.descriptor])
    const size = options.queueSize
    for (let index = 0; index < options.queues; index++) startRing(driver.#frontEnd, guest, { index, size, features })
    // The reply shows that all earlier messages were handled.
    await driver.#ask('GET_FEATURES', undefined)
    return driver
  }

  /** Sends a request and waits for it. @param writable lengths in bytes @returns the bytes of each writable part */
  async request(queue: number, readable: readonly Uint8Array[], writable: readonly number[]): Promise<Uint8Array[]> {
    const { guest } = this
    const { allocator, region } = guest
    const place = (length: number): Part => ({ address: allocator.allocate(length), length })
    const inputs = readable.map((bytes) => {
      const part = place(bytes.length)
      region.u8.set(bytes, part.address)
      return part
    })
    const outputs = writable.map(place)
    const driver = guest.queues[queue]
    if (driver.add(inputs, outputs) < 0) throw new Error('the queue is full')
    if (driver.kick()) guest.kicks[queue].signal()
    await poll(() => guest.calls[queue].drain() > 0 && driver.collect(), 'the device does not answer')
    driver.enableInterrupts()
    const answer = outputs.map(({ address, length }) => region.u8.slice(address, address + length))
    for (const { address } of [...inputs, ...outputs]) allocator.free(address)
    return answer
  }

  /** Closes the connection without stopping the rings. */
  close(): void {
    this.#frontEnd.close()
    this.guest.close()
  }

  async #ask<N extends FrontEndMessage>(
    name: N,
    request: RequestOf<N>,
    descriptors: readonly Descriptor[] = [],
  ): Promise<ReplyOf<N>> {
    const kind = FrontEndMessage[name] as unknown as MessageKind<RequestOf<N>, ReplyOf<N>>
    this.#frontEnd.send(name, request, descriptors)
    const message = await poll(() => this.#frontEnd.next(), `${name} is not answered`)
    if (!kind.reply) throw new Error(`${name} has no answer`)
    return kind.reply.parse(message.payload)
  }
}

/** Calls `find` until it returns a value. @throws {Error} with `message` after `TIMEOUT_MS` */
async function poll<T>(find: () => T | undefined | false, message: string): Promise<T> {
  const end = Date.now() + TIMEOUT_MS
  for (;;) {
    const found = find()
    if (found !== undefined && found !== false) return found
    if (Date.now() > end) throw new Error(message)
    await setTimeout(1)
  }
}
