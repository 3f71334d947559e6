import type { Descriptor } from '../../host/linux/descriptor.ts'
import { pollInEventLoop } from '../../host/linux/ffi.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'
import { type Receiver, StreamConnection } from '../../host/socket/stream-connection.ts'
import type { SurfacePath } from '../../services/display.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import { BufferAssembly } from './buffer-assembly.ts'
import { descriptionIn, pictureIn, textIn } from './decode.ts'
import { Frame } from './frame.ts'
import { FrameError } from './frame-error.ts'
import { FrameStream, type RawMessage } from './frame-stream.ts'
import {
  ACKNOWLEDGE,
  BUFFER,
  BUFFER_GONE,
  DESCRIPTION,
  EXTENTS,
  encode,
  FRAME,
  FrameSource,
  HELLO,
  MAGIC,
  MAX_FILES,
  MAX_MESSAGE_BYTES,
  READY,
  REFUSED,
  RELEASE,
  SCANOUT,
  ServerFlag,
  VERSION,
  Wanted,
  WirePath,
} from './protocol.ts'
import type { ReceivedBuffer } from './received-buffer.ts'

/** Takes what a message of one type says. */
type Hear = (payload: Uint8Array, descriptors: readonly Descriptor[]) => void

/** How long a server may take to say that it is one. */
const TIMEOUT_MS = 5000

export interface FrameClientOptions {
  /** Whether to be told of scanouts, and given what they show; yes unless told. */
  readonly scanouts?: boolean
  /** Whether to be given all buffers that the guest shares; no unless told. */
  readonly buffers?: boolean
  /** Where the socket is watched: Node's own event loop unless told. */
  readonly reactor?: Pick<Reactor, 'watch'>
}

/** A scanout as the server says it is. */
export interface ReceivedScanout {
  readonly index: number
  /** How its bytes are had; undefined where it is off. */
  readonly path: SurfacePath | undefined
  /** Why, for people. */
  readonly reason: string
  /** What it shows; undefined where it is off, or that cannot be had. */
  readonly buffer: ReceivedBuffer | undefined
  readonly picture: FramebufferLayout | undefined
  /** What of the picture is shown. */
  readonly source: Rect
}

/** Hears what happens besides frames. */
export interface FrameListener {
  /** A scanout shows something else, or nothing. */
  scanout?(scanout: ReceivedScanout): void
  /** A buffer came. */
  buffer?(buffer: ReceivedBuffer): void
  /** It is said to be something else than before. */
  described?(buffer: ReceivedBuffer): void
  /** The guest took it back. */
  gone?(buffer: ReceivedBuffer): void
}

/**
 * Gets a guest's pictures and buffers from an export socket, where they lie.
 *
 *     const client = await FrameClient.connect('/run/frames.sock')
 *     for await (const frame of client.frames()) {
 *       encode(frame.bytes, frame.picture, frame.damage)
 *       frame.acknowledge()
 *     }
 *
 * It lives in Node's own event loop, and keeps that alive until it is closed or the server is gone. A frame that nobody takes
 * waits, one for each scanout; meanwhile the server gathers what changes.
 */
export class FrameClient implements Receiver {
  /** Whether the server gives memory files, with what else is in them. */
  memoryFiles = false
  /** Those that the server spoke of. */
  readonly scanouts = new Map<number, ReceivedScanout>()
  /** Those that are not released. */
  readonly buffers = new Map<number, ReceivedBuffer>()
  /** Resolves once all that was there when it connected has been told. */
  readonly ready: Promise<void>
  readonly #wanted: number
  readonly #connection: StreamConnection
  readonly #messages = new FrameStream(MAX_MESSAGE_BYTES, MAX_FILES)
  readonly #hears: ReadonlyMap<number, Hear> = new Map<number, Hear>([
    [HELLO.type, (payload) => this.#greet(payload)],
    [REFUSED.type, (payload) => this.ended(textIn(REFUSED.payload.parse(payload).bytes))],
    [BUFFER.type, (payload, descriptors) => this.#begin(payload, descriptors)],
    [EXTENTS.type, (payload) => this.#goOn(payload)],
    [BUFFER_GONE.type, (payload) => this.#gone(BUFFER_GONE.payload.parse(payload).buffer)],
    [DESCRIPTION.type, (payload) => this.#describe(payload)],
    [SCANOUT.type, (payload) => this.#scanout(payload)],
    [FRAME.type, (payload) => this.#frame(payload)],
    [READY.type, () => this.#tellReady()],
  ])
  /** Frames that nobody took. */
  readonly #frames: Frame[] = []
  /** Frames of each buffer that are not acknowledged. */
  readonly #open = new Map<ReceivedBuffer, number>()
  /** The last frame of each source. */
  readonly #sequences = new Map<string, number>()
  readonly #listeners = new Set<FrameListener>()
  #assembly: BufferAssembly | undefined
  #greeted = false
  #over = false
  /** Why it ended, where that is for people to know. */
  #failure: FrameError | undefined
  /** Wakes who waits for a frame, a greeting, or the end. */
  #wake: () => void = () => {}
  #changed: Promise<void>
  #tellReady: () => void = () => {}

  private constructor(stream: UnixStream, options: FrameClientOptions) {
    const { scanouts = true, buffers = false, reactor = { watch: pollInEventLoop } } = options
    this.#wanted = (scanouts ? Wanted.SCANOUTS : 0) | (buffers ? Wanted.BUFFERS : 0)
    this.ready = new Promise((resolve) => {
      this.#tellReady = resolve
    })
    this.#changed = this.#nextChange()
    this.#connection = new StreamConnection(stream, reactor, this)
  }

  /**
   * Connects, and waits until the server lets it in.
   * @throws {FrameError} where there is no server, or it refuses
   */
  static async connect(path: string, options: FrameClientOptions = {}): Promise<FrameClient> {
    const client = new FrameClient(openStream(path), options)
    const patience = setTimeout(() => {
      client.ended(`${path} is no export socket: nothing comes from it`)
    }, TIMEOUT_MS)
    try {
      while (!client.#greeted && !client.#over) await client.#changed
      if (!client.#greeted) throw client.#failure ?? new FrameError(`the server on ${path} closed the connection`)
      return client
    } finally {
      clearTimeout(patience)
    }
  }

  /** Whether the connection is over. */
  get over(): boolean {
    return this.#over
  }

  /** @returns a function that ends it */
  listen(listener: FrameListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Frames as they come, each to be acknowledged. Ends when the client is closed, or the server is gone.
   * @throws {FrameError} where the server ends the connection, with its reason
   */
  async *frames(): AsyncGenerator<Frame, void, undefined> {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame) {
        yield frame
        continue
      }
      if (this.#failure) throw this.#failure
      if (this.#over) return
      await this.#changed
    }
  }

  /** Releases all it has, and ends the connection. */
  close(): void {
    this.ended()
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#messages.add(bytes, descriptors)
    for (let message = this.#messages.next(); message && !this.#over; message = this.#messages.next()) {
      try {
        this.#heed(message)
      } catch (error) {
        this.ended(`the server says what cannot be: ${error instanceof Error ? error.message : error}`)
      }
    }
    if (this.#messages.fault !== undefined) this.ended(`this is no export socket: ${this.#messages.fault}`)
  }

  /** The connection is over. @param reason undefined where either end just closed it */
  ended(reason?: string): void {
    if (this.#over) return
    this.#over = true
    if (reason !== undefined) this.#failure = new FrameError(reason)
    this.#connection.close()
    this.#messages.close()
    this.#assembly?.close()
    for (const buffer of this.buffers.values()) buffer.close()
    this.buffers.clear()
    this.#frames.length = 0
    this.#tellReady()
    this.#wake()
  }

  #heed({ type, payload, descriptors }: RawMessage): void {
    if (type !== BUFFER.type && descriptors.length > 0) {
      for (const descriptor of descriptors) descriptor.close()
      throw new FrameError('descriptors beside a message that has none')
    }
    const hear = this.#hears.get(type)
    if (!hear) throw new FrameError(`a message of type ${type}`)
    hear(payload, descriptors)
  }

  #greet(payload: Uint8Array): void {
    const { magic, version, flags } = HELLO.payload.parse(payload)
    if (magic !== MAGIC) throw new FrameError('a greeting of another protocol')
    if (version !== VERSION) throw new FrameError(`version ${version}, where ${VERSION} is known here`)
    this.memoryFiles = (flags & ServerFlag.MEMORY_FILES) !== 0
    this.#greeted = true
    this.#say(encode(HELLO, { magic: MAGIC, version: VERSION, flags: this.#wanted }))
    this.#wake()
  }

  #begin(payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#assembly?.close()
    this.#assembly = new BufferAssembly(payload, descriptors)
    this.#finish(this.#assembly)
  }

  #goOn(payload: Uint8Array): void {
    if (!this.#assembly) throw new FrameError('parts of no buffer')
    this.#assembly.add(payload)
    this.#finish(this.#assembly)
  }

  #finish(assembly: BufferAssembly): void {
    if (!assembly.whole) return
    this.#assembly = undefined
    const buffer = assembly.finish((released) => this.#release(released))
    this.buffers.get(buffer.id)?.close()
    this.buffers.set(buffer.id, buffer)
    for (const listener of this.#listeners) listener.buffer?.(buffer)
  }

  #gone(id: number): void {
    const buffer = this.buffers.get(id)
    if (!buffer) return
    buffer.gone = true
    for (const listener of this.#listeners) listener.gone?.(buffer)
    this.#releaseUnused(buffer)
  }

  #describe(payload: Uint8Array): void {
    const { id, picture, uuid } = descriptionIn(DESCRIPTION.payload.parse(payload))
    const buffer = this.buffers.get(id)
    if (!buffer) return
    buffer.picture = picture
    buffer.uuid = uuid
    for (const listener of this.#listeners) listener.described?.(buffer)
  }

  #scanout(payload: Uint8Array): void {
    const { scanout: index, path: code, buffer: id, source, picture, bytes } = SCANOUT.payload.parse(payload)
    const path = PATHS.get(code)
    const scanout: ReceivedScanout = {
      index,
      path,
      reason: textIn(bytes),
      buffer: this.buffers.get(id),
      picture: path === undefined ? undefined : pictureIn(picture),
      source,
    }
    this.scanouts.set(index, scanout)
    for (const listener of this.#listeners) listener.scanout?.(scanout)
  }

  #frame(payload: Uint8Array): void {
    const { source: code, id, sequence, time, elements } = FRAME.payload.parse(payload)
    const source = code === FrameSource.SCANOUT ? FrameSource.SCANOUT : FrameSource.BUFFER
    const shown = source === FrameSource.SCANOUT ? this.scanouts.get(id) : undefined
    const buffer = source === FrameSource.SCANOUT ? shown?.buffer : this.buffers.get(id)
    const picture = shown?.picture ?? buffer?.picture
    // It may have been released while this was on its way.
    if (!buffer || buffer.released || !picture) {
      if (source === FrameSource.SCANOUT) this.#acknowledge(source, id, sequence)
      return
    }
    const before = this.#sequences.get(`${source} ${id}`)
    this.#sequences.set(`${source} ${id}`, sequence)
    const facts = {
      scanout: shown?.index,
      buffer,
      picture,
      source: shown?.source ?? { x: 0, y: 0, width: picture.width, height: picture.height },
      damage: elements,
      sequence,
      merged: before === undefined ? 0 : Math.max(0, sequence - before - 1),
      time,
    }
    this.#open.set(buffer, (this.#open.get(buffer) ?? 0) + 1)
    this.#frames.push(new Frame(facts, (frame) => this.#done(frame, source, id)))
    this.#wake()
  }

  #done({ buffer, sequence }: Frame, source: FrameSource, id: number): void {
    const left = (this.#open.get(buffer) ?? 1) - 1
    if (left > 0) this.#open.set(buffer, left)
    else this.#open.delete(buffer)
    // The server forgot the frames of a buffer that was released.
    if (source === FrameSource.SCANOUT || !buffer.released) this.#acknowledge(source, id, sequence)
    this.#releaseUnused(buffer)
  }

  #acknowledge(source: FrameSource, id: number, sequence: number): void {
    this.#say(encode(ACKNOWLEDGE, { source, id, sequence }))
  }

  #releaseUnused(buffer: ReceivedBuffer): void {
    if (buffer.gone && !buffer.kept && !this.#open.has(buffer)) buffer.release()
  }

  #release({ id }: ReceivedBuffer): void {
    this.buffers.delete(id)
    this.#say(encode(RELEASE, { buffer: id }))
  }

  #say(bytes: Uint8Array): void {
    if (this.#over) return
    try {
      this.#connection.send(bytes)
    } catch (error) {
      const gone = error instanceof SystemCallError && ['EPIPE', 'ECONNRESET'].includes(error.code)
      // What it said last may still be there to be read.
      if (!gone) this.ended(error instanceof Error ? error.message : String(error))
    }
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#changed = this.#nextChange()
        resolve()
      }
    })
  }
}

const PATHS: ReadonlyMap<number, SurfacePath> = new Map([
  [WirePath.DMA_BUF, 'dma-buf'],
  [WirePath.LINEAR, 'linear'],
  [WirePath.SCATTER, 'scatter'],
  [WirePath.COPY, 'copy'],
])

function openStream(path: string): UnixStream {
  try {
    return UnixStream.connect(path)
  } catch (cause) {
    if (!(cause instanceof SystemCallError)) throw cause
    throw new FrameError(whyNot(cause, path), { cause })
  }
}

function whyNot({ code, message }: SystemCallError, path: string): string {
  switch (code) {
    case 'ENOENT':
      return `there is no ${path}: start the device with --export ${path}`
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return `nobody listens on ${path}: start the device with --export ${path}`
    case 'EACCES':
      return `${path} may not be opened: connect as the user who started the device, or have it list yours`
    default:
      return message
  }
}
