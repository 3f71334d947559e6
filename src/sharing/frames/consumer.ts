import type { GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { PeerCredentials } from '../../host/linux/peer-credentials.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import { MessageDeadline } from '../../host/socket/message-deadline.ts'
import { type Receiver, StreamConnection } from '../../host/socket/stream-connection.ts'
import type { Surface } from '../../services/display.ts'
import type { Rect } from '../../services/rect.ts'
import { bufferMessages, descriptionOf, refusal, scanoutMessage } from './encode.ts'
import { FrameFlow } from './frame-flow.ts'
import { FrameStream, type RawMessage } from './frame-stream.ts'
import { monotonicTime } from './monotonic-time.ts'
import { Outbox } from './outbox.ts'
import {
  ACKNOWLEDGE,
  BUFFER_REMOVED,
  DESCRIPTION,
  encode,
  FRAME,
  FrameSource,
  HELLO,
  MAGIC,
  MAX_CONSUMER_MESSAGE_BYTES,
  READY,
  RELEASE,
  ServerFlag,
  VERSION,
  Wanted,
} from './protocol.ts'

/**
 * Maximum number of buffers that only this consumer holds, after the guest took them back. At the limit it receives no
 * others.
 */
const MAX_STALE = 64
/** Maximum size of those buffers in bytes. A consumer above it must release some within the timeout. */
const MAX_STALE_BYTES = 256 << 20
/** Maximum number of messages per turn, so that the device is served in between. */
const MAX_MESSAGES_PER_TURN = 32

/** Buffer as it is announced to all consumers. */
export interface ServedBuffer {
  /** Unique number, never reused. */
  readonly id: number
  readonly buffer: GuestBuffer
  /** Number of changes of its pixels, and the time of the last one. */
  sequence: number
  time: number
}

/** Scanout as it is announced to all consumers. */
export interface ServedScanout {
  surface: Surface | undefined
  /** Buffer of its surface; undefined if that is not shared. */
  served: ServedBuffer | undefined
  sequence: number
  time: number
}

/** Current state of scanouts and buffers. */
export interface Frames {
  readonly memoryFiles: boolean
  readonly scanouts: readonly ServedScanout[]
  readonly buffers: Iterable<ServedBuffer>
}

export interface ConsumerEvents {
  /** The connection ended. Called once. @param reason one line; undefined if the consumer closed it */
  ended(reason: string | undefined): void
  /** Line for the log. */
  log(line: string): void
}

/** Buffer that was announced to a consumer and is not yet released by it. */
interface HeldBuffer {
  readonly served: ServedBuffer
  readonly flow: FrameFlow
}

/** State of a scanout at a consumer. */
interface View {
  readonly flow: FrameFlow
  /** True if the scanout changed since it was announced. */
  changed: boolean
  /** Last announcement: scanout off, surface without a buffer, or surface with a buffer. */
  announced: 'off' | 'none' | 'buffer'
}

/** Inspection of a consumer. */
export type ConsumerInspection = PeerCredentials & {
  /** Number of buffers that only this consumer holds. */
  readonly stale: number
  readonly staleBytes: number
  readonly buffers: number
  readonly frames: number
  /** Number of changes that were merged because the previous frame was not acknowledged. */
  readonly merged: number
}

/**
 * Consumer of frames. No messages are queued for it: each outdated state is recorded once, and sent when the socket has
 * room and the previous frame is acknowledged. A slow consumer therefore delays nothing and costs no additional memory.
 */
export class Consumer implements Receiver {
  readonly #stream: UnixStream
  readonly #connection: StreamConnection
  readonly #messages = new FrameStream(MAX_CONSUMER_MESSAGE_BYTES, 0)
  /** Deadline for its first message, and for the rest of an incomplete one. */
  readonly #deadline: MessageDeadline
  /** Bits of `Wanted`; 0 before HELLO. */
  #wanted = 0
  readonly #out: Outbox
  /** Buffer that was announced last, until another message is sent. */
  #announcing: HeldBuffer | undefined
  readonly #views: View[] = []
  readonly #held = new Map<number, HeldBuffer>()
  /** Buffers that the guest took back, not yet announced as removed. */
  readonly #removed = new Set<HeldBuffer>()
  /** Buffers whose description is outdated at the consumer. */
  readonly #redescribed = new Set<HeldBuffer>()
  /** Buffers with damage that is not yet sent. */
  readonly #presented = new Set<HeldBuffer>()
  /** Buffers that are not yet announced to the consumer. */
  readonly #arrived = new Set<ServedBuffer>()
  #stale = 0
  #staleBytes = 0
  /** Deadline for releasing buffers above the size limit. */
  readonly #releasing: MessageDeadline
  /** Time of its last message, CLOCK_MONOTONIC. */
  heardAt = monotonicTime()
  /** True if no message arrived for the timeout. */
  silent = false
  readonly #silence: MessageDeadline
  /** True if the log has a line about too many held buffers. */
  #warned = false
  /** True if there may be something to send. */
  #outdated = false
  /** True after the initial state was sent. */
  #ready = false
  #ended = false

  /** @param stream owned by the consumer */
  constructor(
    stream: UnixStream,
    readonly credentials: PeerCredentials,
    private readonly source: Frames,
    reactor: Pick<Reactor, 'watch' | 'timer'>,
    private readonly events: ConsumerEvents,
  ) {
    this.#stream = stream
    this.#connection = new StreamConnection(stream, reactor, this)
    this.#deadline = new MessageDeadline(reactor, () => this.ended('timeout: its message is incomplete'))
    this.#releasing = new MessageDeadline(reactor, () =>
      this.ended(`timeout: it still holds ${this.#staleBytes} bytes of buffers that the guest took back`),
    )
    this.#silence = new MessageDeadline(reactor, () => {
      this.silent = true
    })
    this.#out = new Outbox(stream, reactor, (reason) => this.ended(reason))
  }

  /** Sends HELLO. Call once, before any other method. */
  begin(): void {
    this.#armDeadline()
    this.#silence.setPending(true)
    const flags = this.source.memoryFiles ? ServerFlag.MEMORY_FILES : 0
    this.#send(encode(HELLO, { magic: MAGIC, version: VERSION, flags }))
  }

  /** A scanout shows another surface, or the same surface in another buffer. */
  scanoutChanged(index: number): void {
    const view = this.#view(index)
    view.changed = true
    view.flow.changeAll()
    this.#outdated = true
  }

  scanoutDamaged(index: number, rect: Rect): void {
    this.#view(index).flow.change(rect)
    this.#outdated = true
  }

  bufferAdded(served: ServedBuffer): void {
    if (!(this.#wanted & Wanted.BUFFERS)) return
    this.#arrived.add(served)
    this.#outdated = true
  }

  /** The description of a buffer changed. */
  bufferDescribed({ id }: ServedBuffer): void {
    const held = this.#held.get(id)
    if (!held) return
    this.#redescribed.add(held)
    this.#outdated = true
  }

  /** Pixels of a buffer changed. */
  bufferPresented(served: ServedBuffer, damage: Rect): void {
    if (!(this.#wanted & Wanted.BUFFERS)) return
    const held = this.#held.get(served.id)
    if (held) {
      held.flow.change(damage)
      this.#presented.add(held)
    } else this.#arrived.add(served)
    this.#outdated = true
  }

  bufferRemoved(served: ServedBuffer): void {
    this.#arrived.delete(served)
    const held = this.#held.get(served.id)
    if (!held) return
    this.#count(held, 1)
    this.#redescribed.delete(held)
    this.#presented.delete(held)
    this.#removed.add(held)
    this.#outdated = true
  }

  /** Sends outdated state while there is room. @returns true if more can be sent at once */
  sendOutdated(): boolean {
    if (this.#wanted === 0 || !this.#outdated) return false
    for (let messages = 0; messages < MAX_MESSAGES_PER_TURN; messages++) {
      if (this.#out.busy || this.#ended) return false
      if (!this.#sendNext()) {
        this.#outdated = false
        return false
      }
    }
    return true
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    for (const descriptor of descriptors) descriptor.close()
    if (descriptors.length > 0) this.ended('its message has descriptors, and none are accepted')
    if (this.#ended) return
    this.#messages.add(bytes)
    for (let message = this.#messages.next(); message && !this.#ended; message = this.#messages.next()) {
      try {
        this.#dispatch(message)
        this.#restartSilence()
        this.#deadline.clear()
      } catch (error) {
        this.ended(error instanceof Error ? error.message : String(error))
      }
    }
    if (this.#messages.fault !== undefined) this.ended(this.#messages.fault)
    this.#armDeadline()
  }

  /** Ends the connection. @param reason undefined if the consumer closed it */
  ended(reason?: string): void {
    if (this.#ended) return
    this.#ended = true
    // An incomplete message cannot be followed by BYE.
    if (reason !== undefined && !this.#out.busy) this.#stream.write(refusal(reason))
    for (const deadline of [this.#deadline, this.#releasing, this.#silence]) deadline.clear()
    this.#messages.close()
    this.#connection.close()
    this.#out.close()
    for (const { served } of this.#held.values()) served.buffer.release()
    this.#held.clear()
    this.events.ended(reason)
  }

  inspect(): ConsumerInspection {
    const flows = [...this.#views, ...this.#held.values()].map(({ flow }) => flow)
    return {
      ...this.credentials,
      buffers: this.#held.size,
      stale: this.#stale,
      staleBytes: this.#staleBytes,
      frames: flows.reduce((sum, { frames }) => sum + frames, 0),
      merged: flows.reduce((sum, { merged }) => sum + merged, 0),
    }
  }

  /** Sets the deadline of HELLO or of an incomplete message. */
  #armDeadline(): void {
    this.#deadline.setPending(!this.#ended && (this.#wanted === 0 || this.#messages.partial))
  }

  /** Restarts the silence timeout. */
  #restartSilence(): void {
    this.heardAt = monotonicTime()
    this.silent = false
    this.#silence.clear()
    this.#silence.setPending(!this.#ended)
  }

  /** Adds or subtracts a buffer that only this consumer holds. */
  #count({ served }: HeldBuffer, by: 1 | -1): void {
    this.#stale += by
    this.#staleBytes += by * served.buffer.byteLength
    this.#releasing.setPending(this.#staleBytes > MAX_STALE_BYTES)
  }

  #dispatch({ type, payload }: RawMessage): void {
    if (this.#wanted === 0) {
      if (type !== HELLO.type) throw new Error('its first message is not HELLO')
      this.#greet(payload)
    } else if (type === ACKNOWLEDGE.type) this.#acknowledge(payload)
    else if (type === RELEASE.type) this.#release(payload)
    else throw new Error(`message type ${type} is not valid from a consumer`)
  }

  #greet(payload: Uint8Array): void {
    const { magic, version, flags } = HELLO.payload.parse(payload)
    if (magic !== MAGIC) throw new Error('its HELLO has the magic number of another protocol')
    if (version !== VERSION) throw new Error(`protocol version ${version} is not supported, only ${VERSION}`)
    const wanted = flags & (Wanted.SCANOUTS | Wanted.BUFFERS)
    if (wanted === 0 || wanted !== flags) throw new Error(`its HELLO has invalid flags: ${flags}`)
    this.#wanted = wanted
    this.#outdated = true
    if (wanted & Wanted.BUFFERS) for (const served of this.source.buffers) this.#arrived.add(served)
    for (const index of this.source.scanouts.keys()) this.scanoutChanged(index)
  }

  #acknowledge(payload: Uint8Array): void {
    const { source, id, sequence } = ACKNOWLEDGE.payload.parse(payload)
    const flows = { [FrameSource.SCANOUT]: this.#views[id]?.flow, [FrameSource.BUFFER]: this.#held.get(id)?.flow }
    const flow = source === FrameSource.SCANOUT || source === FrameSource.BUFFER ? flows[source] : undefined
    if (!flow?.acknowledge(sequence)) throw new Error('it acknowledges a frame that was not sent to it')
    this.#outdated = true
  }

  #release(payload: Uint8Array): void {
    const { buffer: id } = RELEASE.payload.parse(payload)
    const held = this.#held.get(id)
    if (!held || (held === this.#announcing && this.#out.busy))
      throw new Error('it releases a buffer that was not sent to it')
    this.#held.delete(id)
    for (const news of [this.#removed, this.#redescribed, this.#presented]) news.delete(held)
    if (held.served.buffer.removed) this.#count(held, -1)
    // Scanouts that show the buffer announce it again with the next change.
    for (const [index, view] of this.#views.entries()) {
      if (this.source.scanouts[index].served === held.served) view.changed = true
    }
    held.served.buffer.release()
    this.#outdated = true
  }

  #sendNext(): boolean {
    for (const held of this.#removed) {
      this.#removed.delete(held)
      this.#send(encode(BUFFER_REMOVED, { buffer: held.served.id }))
      return true
    }
    for (const held of this.#redescribed) {
      this.#redescribed.delete(held)
      this.#send(encode(DESCRIPTION, descriptionOf(held.served.id, held.served.buffer)))
      return true
    }
    return this.#sendScanouts() || this.#sendArrival() || this.#sendPresented() || this.#sendReady()
  }

  #sendScanouts(): boolean {
    if (!(this.#wanted & Wanted.SCANOUTS)) return false
    for (const [index, view] of this.#views.entries()) {
      if (this.#sendScanout(index, view, this.source.scanouts[index])) return true
    }
    return false
  }

  #sendScanout(index: number, view: View, { surface, served, sequence, time }: ServedScanout): boolean {
    if (!surface || !served) {
      // Without a buffer there are no frames to acknowledge.
      if (!view.changed || (!surface && view.announced === 'off')) return false
      view.changed = false
      view.announced = surface ? 'none' : 'off'
      this.#send(scanoutMessage(index, surface, 0))
      return true
    }
    if (!view.flow.ready) return false
    if (view.changed) {
      if (!this.#held.has(served.id)) return this.#announce(served)
      view.changed = false
      view.announced = 'buffer'
      this.#send(scanoutMessage(index, surface, served.id))
      return true
    }
    const elements = view.flow.take(surface, sequence)
    this.#send(
      encode(FRAME, { source: FrameSource.SCANOUT, id: index, sequence, time, count: elements.length, elements }),
    )
    return true
  }

  #sendArrival(): boolean {
    for (const served of this.#arrived) {
      if (this.#held.has(served.id)) this.#arrived.delete(served)
      else return this.#announce(served)
    }
    return false
  }

  #sendPresented(): boolean {
    for (const held of this.#presented) {
      const { id, buffer, sequence, time } = held.served
      if (!buffer.layout || !held.flow.ready) continue
      this.#presented.delete(held)
      const elements = held.flow.take(buffer.layout, sequence)
      this.#send(encode(FRAME, { source: FrameSource.BUFFER, id, sequence, time, count: elements.length, elements }))
      return true
    }
    return false
  }

  #sendReady(): boolean {
    if (this.#ready) return false
    this.#ready = true
    this.#send(encode(READY, undefined))
    return true
  }

  /** Announces a buffer. @returns false if the consumer cannot receive another one now */
  #announce(served: ServedBuffer): boolean {
    if (this.#stale >= MAX_STALE || this.#staleBytes > MAX_STALE_BYTES) {
      if (!this.#warned)
        this.events.log(`no more buffers are sent to it: it holds ${this.#stale} that the guest took back`)
      this.#warned = true
      return false
    }
    if (!served.buffer.retain()) return false
    this.#arrived.delete(served)
    const held = { served, flow: new FrameFlow() }
    this.#held.set(served.id, held)
    this.#announcing = held
    // All pixels of the buffer are new to the consumer.
    if (served.sequence > 0 && this.#wanted & Wanted.BUFFERS) {
      held.flow.changeAll()
      this.#presented.add(held)
    }
    this.#out.send(bufferMessages(served.id, served.buffer, this.source.memoryFiles))
    return true
  }

  #send(bytes: Uint8Array): void {
    this.#announcing = undefined
    this.#out.send([{ bytes, descriptors: [] }])
  }

  #view(index: number): View {
    while (this.#views.length <= index) this.#views.push({ flow: new FrameFlow(), changed: false, announced: 'off' })
    return this.#views[index]
  }
}
