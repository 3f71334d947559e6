import type { GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { PeerCredentials } from '../../host/linux/peer-credentials.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import { MessageDeadline } from '../../host/socket/message-deadline.ts'
import { type Receiver, StreamConnection } from '../../host/socket/stream-connection.ts'
import type { Surface } from '../../services/display.ts'
import type { Rect } from '../../services/rect.ts'
import { bufferStatements, descriptionOf, refusal, scanoutStatement } from './encode.ts'
import { FrameFlow } from './frame-flow.ts'
import { FrameStream, type RawMessage } from './frame-stream.ts'
import { monotonicTime } from './monotonic-time.ts'
import { Outbox } from './outbox.ts'
import {
  ACKNOWLEDGE,
  BUFFER_GONE,
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

/** Buffers that only a consumer has, since the guest took them back. With so many, it gets no more until it releases some. */
const MAX_STALE = 64
/** Bytes in them. A consumer with more has a moment to release some. */
const MAX_STALE_BYTES = 256 << 20
/** Messages a turn: the device has other things to do. */
const MAX_A_TURN = 32

/** A buffer as all consumers are told of it. */
export interface ServedBuffer {
  /** Nobody else has, or had, this number. */
  readonly id: number
  readonly buffer: GuestBuffer
  /** Counts the times that its pixels changed, and tells when they did last. */
  sequence: number
  time: number
}

/** A scanout as all consumers are told of it. */
export interface ServedScanout {
  surface: Surface | undefined
  /** What its surface is in; undefined where that cannot be had. */
  served: ServedBuffer | undefined
  sequence: number
  time: number
}

/** What there is to tell. */
export interface Frames {
  readonly memoryFiles: boolean
  readonly scanouts: readonly ServedScanout[]
  readonly buffers: Iterable<ServedBuffer>
}

export interface ConsumerEvents {
  /** It is gone. Called once. @param reason for people; undefined where it just closed the connection */
  left(reason: string | undefined): void
  /** A line about it. */
  log(line: string): void
}

/** A buffer that a consumer was told of, and holds. */
interface Told {
  readonly served: ServedBuffer
  readonly flow: FrameFlow
}

/** What a consumer knows of a scanout. */
interface View {
  readonly flow: FrameFlow
  /** It shows something else than the consumer was told last. */
  changed: boolean
  /** What that was: whether it shows something that can be had. */
  told: 'off' | 'none' | 'buffer'
}

/** What the inspector shows of a consumer. */
export type ConsumerInspection = PeerCredentials & {
  /** It has buffers that nobody else has any more. */
  readonly stale: number
  readonly staleBytes: number
  readonly buffers: number
  readonly frames: number
  /** Changes that became part of others, since it was not done with the frame before. */
  readonly merged: number
}

/**
 * Somebody who gets frames. Nothing is queued for it: what it does not know yet is kept, once, and told when its socket has room and
 * the frame before is acknowledged. So it makes no one wait, and costs the same however slow it is.
 */
export class Consumer implements Receiver {
  readonly #stream: UnixStream
  readonly #connection: StreamConnection
  readonly #messages = new FrameStream(MAX_CONSUMER_MESSAGE_BYTES, 0)
  /** For its first message, and for the rest of one that it began. */
  readonly #deadline: MessageDeadline
  /** Bits of `Wanted`; 0 until it said so. */
  #wanted = 0
  readonly #out: Outbox
  /** The buffer that was given last, with nothing said since. */
  #giving: Told | undefined
  readonly #views: View[] = []
  readonly #told = new Map<number, Told>()
  /** Of those: what it has to be told. */
  readonly #gone = new Set<Told>()
  readonly #described = new Set<Told>()
  readonly #presented = new Set<Told>()
  /** Buffers that it was not told of. */
  readonly #arrived = new Set<ServedBuffer>()
  #stale = 0
  #staleBytes = 0
  /** For releasing some, where those are too many bytes. */
  readonly #releasing: MessageDeadline
  /** When a message of it came last, and whether that is long ago: CLOCK_MONOTONIC. */
  heardAt = monotonicTime()
  silent = false
  readonly #silence: MessageDeadline
  /** The log has that it holds too many of those. */
  #warned = false
  /** There may be something to tell. */
  #news = false
  /** It was told all that there was when it came. */
  #ready = false
  #over = false

  /** @param stream the consumer's from now on */
  constructor(
    stream: UnixStream,
    readonly credentials: PeerCredentials,
    private readonly source: Frames,
    reactor: Pick<Reactor, 'watch' | 'timer'>,
    private readonly events: ConsumerEvents,
  ) {
    this.#stream = stream
    this.#connection = new StreamConnection(stream, reactor, this)
    this.#deadline = new MessageDeadline(reactor, () => this.ended('it does not finish its message'))
    this.#releasing = new MessageDeadline(reactor, () =>
      this.ended(`it holds ${this.#staleBytes} bytes of buffers that the guest took back`),
    )
    this.#silence = new MessageDeadline(reactor, () => {
      this.silent = true
    })
    this.#out = new Outbox(stream, reactor, (reason) => this.ended(reason))
  }

  /** To be called once, first of all. */
  begin(): void {
    this.#wait()
    this.#silence.owed(true)
    const flags = this.source.memoryFiles ? ServerFlag.MEMORY_FILES : 0
    this.#send(encode(HELLO, { magic: MAGIC, version: VERSION, flags }))
  }

  /** A scanout shows another surface, or the same somewhere else. */
  scanoutChanged(index: number): void {
    const view = this.#view(index)
    view.changed = true
    view.flow.changeAll()
    this.#news = true
  }

  scanoutDamaged(index: number, rect: Rect): void {
    this.#view(index).flow.change(rect)
    this.#news = true
  }

  bufferAdded(served: ServedBuffer): void {
    if (!(this.#wanted & Wanted.BUFFERS)) return
    this.#arrived.add(served)
    this.#news = true
  }

  bufferDescribed({ id }: ServedBuffer): void {
    const told = this.#told.get(id)
    if (!told) return
    this.#described.add(told)
    this.#news = true
  }

  bufferPresented(served: ServedBuffer, damage: Rect): void {
    if (!(this.#wanted & Wanted.BUFFERS)) return
    const told = this.#told.get(served.id)
    if (told) {
      told.flow.change(damage)
      this.#presented.add(told)
    } else this.#arrived.add(served)
    this.#news = true
  }

  bufferRemoved(served: ServedBuffer): void {
    this.#arrived.delete(served)
    const told = this.#told.get(served.id)
    if (!told) return
    this.#count(told, 1)
    this.#described.delete(told)
    this.#presented.delete(told)
    this.#gone.add(told)
    this.#news = true
  }

  /** Tells it what it does not know, as far as there is room. @returns whether there is more to do at once */
  tell(): boolean {
    if (this.#wanted === 0 || !this.#news) return false
    for (let messages = 0; messages < MAX_A_TURN; messages++) {
      if (this.#out.busy || this.#over) return false
      if (!this.#tellNext()) {
        this.#news = false
        return false
      }
    }
    return true
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    for (const descriptor of descriptors) descriptor.close()
    if (descriptors.length > 0) this.ended('it sends descriptors')
    if (this.#over) return
    this.#messages.add(bytes)
    for (let message = this.#messages.next(); message && !this.#over; message = this.#messages.next()) {
      try {
        this.#heed(message)
        this.#heard()
        this.#deadline.met()
      } catch (error) {
        this.ended(error instanceof Error ? error.message : String(error))
      }
    }
    if (this.#messages.fault !== undefined) this.ended(this.#messages.fault)
    this.#wait()
  }

  /** The connection is over. @param reason undefined where the consumer just closed it */
  ended(reason?: string): void {
    if (this.#over) return
    this.#over = true
    // In the middle of a message there is nothing more to be said.
    if (reason !== undefined && !this.#out.busy) this.#stream.write(refusal(reason))
    for (const deadline of [this.#deadline, this.#releasing, this.#silence]) deadline.met()
    this.#messages.close()
    this.#connection.close()
    this.#out.close()
    for (const { served } of this.#told.values()) served.buffer.release()
    this.#told.clear()
    this.events.left(reason)
  }

  inspect(): ConsumerInspection {
    const flows = [...this.#views, ...this.#told.values()].map(({ flow }) => flow)
    return {
      ...this.credentials,
      buffers: this.#told.size,
      stale: this.#stale,
      staleBytes: this.#staleBytes,
      frames: flows.reduce((sum, { frames }) => sum + frames, 0),
      merged: flows.reduce((sum, { merged }) => sum + merged, 0),
    }
  }

  /** A message that is owed has its time; one that is not begun has all the time there is. */
  #wait(): void {
    this.#deadline.owed(!this.#over && (this.#wanted === 0 || this.#messages.partial))
  }

  #heard(): void {
    this.heardAt = monotonicTime()
    this.silent = false
    this.#silence.met()
    this.#silence.owed(!this.#over)
  }

  /** Counts a buffer that only this consumer has, or had. */
  #count({ served }: Told, by: 1 | -1): void {
    this.#stale += by
    this.#staleBytes += by * served.buffer.byteLength
    this.#releasing.owed(this.#staleBytes > MAX_STALE_BYTES)
  }

  #heed({ type, payload }: RawMessage): void {
    if (this.#wanted === 0) {
      if (type !== HELLO.type) throw new Error('it does not begin with HELLO')
      this.#greet(payload)
    } else if (type === ACKNOWLEDGE.type) this.#acknowledge(payload)
    else if (type === RELEASE.type) this.#release(payload)
    else throw new Error(`a message of type ${type} is none of a consumer's`)
  }

  #greet(payload: Uint8Array): void {
    const { magic, version, flags } = HELLO.payload.parse(payload)
    if (magic !== MAGIC) throw new Error('its HELLO is of another protocol')
    if (version !== VERSION) throw new Error(`version ${VERSION} is spoken here, not ${version}`)
    const wanted = flags & (Wanted.SCANOUTS | Wanted.BUFFERS)
    if (wanted === 0 || wanted !== flags) throw new Error(`it wants ${flags}, which is nothing that there is`)
    this.#wanted = wanted
    this.#news = true
    if (wanted & Wanted.BUFFERS) for (const served of this.source.buffers) this.#arrived.add(served)
    for (const index of this.source.scanouts.keys()) this.scanoutChanged(index)
  }

  #acknowledge(payload: Uint8Array): void {
    const { source, id, sequence } = ACKNOWLEDGE.payload.parse(payload)
    const flows = { [FrameSource.SCANOUT]: this.#views[id]?.flow, [FrameSource.BUFFER]: this.#told.get(id)?.flow }
    const flow = source === FrameSource.SCANOUT || source === FrameSource.BUFFER ? flows[source] : undefined
    if (!flow?.acknowledge(sequence)) throw new Error('it acknowledges a frame that it was not given')
    this.#news = true
  }

  #release(payload: Uint8Array): void {
    const { buffer: id } = RELEASE.payload.parse(payload)
    const told = this.#told.get(id)
    if (!told || (told === this.#giving && this.#out.busy))
      throw new Error('it releases a buffer that it was not given')
    this.#told.delete(id)
    for (const news of [this.#gone, this.#described, this.#presented]) news.delete(told)
    if (told.served.buffer.removed) this.#count(told, -1)
    // What shows it has to be told again, with the next pixels that change.
    for (const [index, view] of this.#views.entries()) {
      if (this.source.scanouts[index].served === told.served) view.changed = true
    }
    told.served.buffer.release()
    this.#news = true
  }

  #tellNext(): boolean {
    for (const told of this.#gone) {
      this.#gone.delete(told)
      this.#send(encode(BUFFER_GONE, { buffer: told.served.id }))
      return true
    }
    for (const told of this.#described) {
      this.#described.delete(told)
      this.#send(encode(DESCRIPTION, descriptionOf(told.served.id, told.served.buffer)))
      return true
    }
    return this.#tellScanouts() || this.#tellArrival() || this.#tellPresented() || this.#tellReady()
  }

  #tellScanouts(): boolean {
    if (!(this.#wanted & Wanted.SCANOUTS)) return false
    for (const [index, view] of this.#views.entries()) {
      if (this.#tellScanout(index, view, this.source.scanouts[index])) return true
    }
    return false
  }

  #tellScanout(index: number, view: View, { surface, served, sequence, time }: ServedScanout): boolean {
    if (!surface || !served) {
      // Without pixels there are no frames, and nothing to wait for.
      if (!view.changed || (!surface && view.told === 'off')) return false
      view.changed = false
      view.told = surface ? 'none' : 'off'
      this.#send(scanoutStatement(index, surface, 0))
      return true
    }
    if (!view.flow.ready) return false
    if (view.changed) {
      if (!this.#told.has(served.id)) return this.#give(served)
      view.changed = false
      view.told = 'buffer'
      this.#send(scanoutStatement(index, surface, served.id))
      return true
    }
    const elements = view.flow.take(surface, sequence)
    this.#send(
      encode(FRAME, { source: FrameSource.SCANOUT, id: index, sequence, time, count: elements.length, elements }),
    )
    return true
  }

  #tellArrival(): boolean {
    for (const served of this.#arrived) {
      if (this.#told.has(served.id)) this.#arrived.delete(served)
      else return this.#give(served)
    }
    return false
  }

  #tellPresented(): boolean {
    for (const told of this.#presented) {
      const { id, buffer, sequence, time } = told.served
      if (!buffer.layout || !told.flow.ready) continue
      this.#presented.delete(told)
      const elements = told.flow.take(buffer.layout, sequence)
      this.#send(encode(FRAME, { source: FrameSource.BUFFER, id, sequence, time, count: elements.length, elements }))
      return true
    }
    return false
  }

  #tellReady(): boolean {
    if (this.#ready) return false
    this.#ready = true
    this.#send(encode(READY, undefined))
    return true
  }

  /** Gives it a buffer. @returns false where it cannot have another now */
  #give(served: ServedBuffer): boolean {
    if (this.#stale >= MAX_STALE || this.#staleBytes > MAX_STALE_BYTES) {
      if (!this.#warned) this.events.log(`it holds ${this.#stale} buffers that the guest took back, and gets no more`)
      this.#warned = true
      return false
    }
    if (!served.buffer.retain()) return false
    this.#arrived.delete(served)
    const told = { served, flow: new FrameFlow() }
    this.#told.set(served.id, told)
    this.#giving = told
    // What changed before it was there to see is all new to it.
    if (served.sequence > 0 && this.#wanted & Wanted.BUFFERS) {
      told.flow.changeAll()
      this.#presented.add(told)
    }
    this.#out.send(bufferStatements(served.id, served.buffer, this.source.memoryFiles))
    return true
  }

  #send(bytes: Uint8Array): void {
    this.#giving = undefined
    this.#out.send([{ bytes, descriptors: [] }])
  }

  #view(index: number): View {
    while (this.#views.length <= index) this.#views.push({ flow: new FrameFlow(), changed: false, told: 'off' })
    return this.#views[index]
  }
}
