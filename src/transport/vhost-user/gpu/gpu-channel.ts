import { getSystemErrorName } from 'node:util'
import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { Errno } from '../../../host/linux/errno.ts'
import { IoVectors } from '../../../host/linux/io-vectors.ts'
import { Interest, type Reactor } from '../../../host/linux/reactor/reactor.ts'
import { Readiness } from '../../../host/linux/reactor/readiness.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import { type Receiver, StreamConnection } from '../../../host/socket/stream-connection.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { hasFeature } from '../../../virtio/feature.ts'
import type { Payload } from '../../../wire/payload.ts'
import { MessageError } from '../../../wire/payload.ts'
import { MessageFlag } from '../protocol.ts'
import { encodeMessage, type RawMessage, RequestStream } from '../request-stream.ts'
import { VhostUserError } from '../vhost-user-error.ts'
import {
  GPU_UPDATE,
  GpuChannelFeature,
  GpuMessage,
  type GpuMessageOf,
  type GpuReplyOf,
  GpuRequest,
  type GpuRequestOf,
  UPDATE_HEIGHT,
  UPDATE_REGION_BYTES,
  UPDATE_REQUEST,
  UPDATE_SCANOUT,
  UPDATE_SIZE,
  UPDATE_WIDTH,
  UPDATE_WORDS,
  UPDATE_X,
  UPDATE_Y,
} from './gpu-messages.ts'

/** Preferred mode of a scanout at the front-end. */
export interface DisplayInfo {
  readonly width: number
  readonly height: number
  readonly edid?: Uint8Array
}

interface PendingRequest {
  readonly id: number
  readonly answer: (payload: Uint8Array) => void
}

/** Version bits of the header flags: 0, other than in vhost-user. */
const NO_VERSION = 0
/** Maximum number of outstanding replies. A front-end that owes this many sends none. */
const MAX_PENDING = 64
const EDID_BLOCK = 128
const MAX_EDID = 1024

/**
 * Socket on which a GPU sends surfaces to its front-end, and asks for preferred modes. The device never blocks on it.
 *
 *     const channel = new GpuChannel(stream, reactor, () => ...)
 *     channel.send('SCANOUT', { scanout: 0, width: 1024, height: 768 })
 *     if (!channel.busy) channel.update(0, rect, pixels)
 *     channel.askDisplays((displays) => ...)
 *
 * @vhost-user GPU_SET_SOCKET
 */
export class GpuChannel implements Receiver {
  /** Number of times that the front-end had no room. */
  stalls = 0
  readonly #stream: UnixStream
  readonly #connection: StreamConnection
  readonly #writable: Readiness
  readonly #answers = new RequestStream(NO_VERSION)
  readonly #pending: PendingRequest[] = []
  readonly #vectors = new IoVectors()
  /** Message that is not sent completely; its rest starts at `#sent`. */
  readonly #out = new SpanList()
  #sent = 0
  readonly #head = new Uint32Array(UPDATE_WORDS)
  readonly #headRegion = MemoryRegion.over(0, new Uint8Array(this.#head.buffer))
  /** True if the front-end sends EDIDs. */
  #edid = false
  #closed = false

  /**
   * Takes ownership of the stream.
   * @param onEnd called once when the connection ends, with the reason if it must be logged
   */
  constructor(
    stream: UnixStream,
    reactor: Pick<Reactor, 'watch'>,
    private readonly onEnd: (reason: string | undefined) => void,
  ) {
    this.#stream = stream
    this.#connection = new StreamConnection(stream, reactor, this)
    this.#writable = new Readiness(reactor, stream.fd, Interest.WRITABLE, () => this.#flush())
    this.#ask('GET_PROTOCOL_FEATURES', undefined, (features) => {
      this.#edid = hasFeature(features, GpuChannelFeature.EDID)
      this.send('SET_PROTOCOL_FEATURES', features & BigInt(1 << GpuChannelFeature.EDID))
    })
  }

  /** True while the last message is not sent completely. `update` must not be called then. */
  get busy(): boolean {
    return this.#out.count > 0
  }

  /** Sends a message without a reply. */
  send<N extends GpuMessage>(name: N, request: GpuMessageOf<N>): void {
    const kind = GpuMessage[name] as unknown as { readonly id: number; readonly request: Payload<GpuMessageOf<N>> }
    this.#send(kind.id, kind.request.write(request))
  }

  /**
   * Sends pixels without copying them. Call it only while the channel is not `busy`, and for a scanout that has a size.
   * @param pixels of the rectangle; they are read when the socket has room
   */
  update(
    scanout: number,
    rect: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
    pixels: SpanList,
  ): void {
    if (this.#closed) return
    const head = this.#head
    head[UPDATE_REQUEST] = GPU_UPDATE
    head[UPDATE_SIZE] = UPDATE_REGION_BYTES + pixels.byteLength
    head[UPDATE_SCANOUT] = scanout
    head[UPDATE_X] = rect.x
    head[UPDATE_Y] = rect.y
    head[UPDATE_WIDTH] = rect.width
    head[UPDATE_HEIGHT] = rect.height
    this.#out.add(this.#headRegion, 0, this.#headRegion.size)
    for (let i = 0; i < pixels.count; i++) this.#out.add(pixels.regions[i], pixels.offsets[i], pixels.lengths[i])
    this.#flush()
  }

  /** Asks for the preferred mode of each scanout; undefined for a scanout without a viewer. */
  askDisplays(answered: (displays: readonly (DisplayInfo | undefined)[]) => void): void {
    this.#ask('GET_DISPLAY_INFO', undefined, ({ elements }) => {
      const displays = elements.map(({ width, height, enabled }): DisplayInfo | undefined =>
        enabled !== 0 && width > 0 && height > 0 ? { width, height } : undefined,
      )
      // Replies arrive in the order of the requests: the protocol features are known by now.
      const shown = this.#edid ? displays.flatMap((display, scanout) => (display ? [scanout] : [])) : []
      let waiting = shown.length
      if (waiting === 0) answered(displays)
      for (const scanout of shown) {
        this.#ask('GET_EDID', { scanout }, (answer) => {
          const edid = edidOf(answer)
          const display = displays[scanout]
          if (edid && display) displays[scanout] = { ...display, edid }
          if (--waiting === 0) answered(displays)
        })
      }
    })
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#answers.add(bytes, descriptors)
    for (let message = this.#answers.next(); message && !this.#closed; message = this.#answers.next()) {
      for (const descriptor of message.descriptors) descriptor.close()
      try {
        this.#take(message)
      } catch (error) {
        if (!(error instanceof MessageError)) throw error
        this.ended(error.message)
      }
    }
    if (this.#answers.fault !== undefined) this.ended(this.#answers.fault)
  }

  ended(reason?: string): void {
    if (this.#closed) return
    this.close()
    this.onEnd(reason)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#writable.close()
    this.#answers.close()
    this.#connection.close()
    this.#pending.length = 0
  }

  #ask<N extends GpuRequest>(name: N, request: GpuRequestOf<N>, answered: (answer: GpuReplyOf<N>) => void): void {
    if (this.#closed) return
    if (this.#pending.length >= MAX_PENDING) {
      this.ended('the front-end sends no replies')
      return
    }
    const kind = GpuRequest[name] as unknown as {
      readonly id: number
      readonly request: Payload<GpuRequestOf<N>>
      readonly reply: Payload<GpuReplyOf<N>>
    }
    this.#pending.push({ id: kind.id, answer: (payload) => answered(kind.reply.parse(payload)) })
    this.#send(kind.id, kind.request.write(request))
  }

  /** @throws {MessageError} if it is not a reply to the oldest request */
  #take({ request, flags, payload }: RawMessage): void {
    const pending = this.#pending.shift()
    if (pending?.id !== request || (flags & MessageFlag.REPLY) === 0) {
      throw new VhostUserError(`message ${request} is not a reply to any request`)
    }
    pending.answer(payload)
  }

  #send(id: number, payload: Uint8Array): void {
    if (this.#closed) return
    const region = MemoryRegion.over(0, encodeMessage(id, 0, payload, NO_VERSION))
    this.#out.add(region, 0, region.size)
    this.#flush()
  }

  #flush(): void {
    const out = this.#out
    const vectors = this.#vectors
    while (!this.#closed && this.#sent < out.byteLength) {
      vectors.clear()
      vectors.addSpans(out, this.#sent, out.byteLength - this.#sent)
      const result = vectors.send(this.#stream.fd)
      if (result < 0 && result !== -Errno.EAGAIN) {
        this.ended(result === -Errno.EPIPE ? undefined : getSystemErrorName(result))
        return
      }
      this.#sent += Math.max(0, result)
      if (result < vectors.byteLength) {
        this.stalls++
        this.#writable.request()
        return
      }
    }
    out.clear()
    this.#sent = 0
  }
}

/** Returns the EDID of a reply; undefined if its size is invalid. */
function edidOf({ size, edid }: GpuReplyOf<'GET_EDID'>): Uint8Array | undefined {
  return size >= EDID_BLOCK && size <= MAX_EDID && size % EDID_BLOCK === 0 ? edid.subarray(0, size) : undefined
}
