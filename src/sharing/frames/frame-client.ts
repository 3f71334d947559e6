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
  BUFFER_REMOVED,
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

/** Handler of one message type. */
type Handler = (payload: Uint8Array, descriptors: readonly Descriptor[]) => void

/** Timeout of the server's HELLO. */
const TIMEOUT_MS = 5000

export interface FrameClientOptions {
  /** Receive scanouts and their buffers. @default true */
  readonly scanouts?: boolean
  /** Receive all buffers that the guest shares. @default false */
  readonly buffers?: boolean
  /** Event loop that watches the socket. @default Node's event loop */
  readonly reactor?: Pick<Reactor, 'watch'>
}

/** Scanout as the server announced it. */
export interface ReceivedScanout {
  readonly index: number
  /** Path to its bytes; undefined if the scanout is off. */
  readonly path: SurfacePath | undefined
  /** Reason for `path`, in one line. */
  readonly reason: string
  /** Buffer of its surface; undefined if it is off or its buffer is not shared. */
  readonly buffer: ReceivedBuffer | undefined
  readonly picture: FramebufferLayout | undefined
  /** Part of the framebuffer that is shown. */
  readonly source: Rect
}

/** Listener for all events except frames. */
export interface FrameListener {
  /** A scanout shows another surface, or is off. */
  scanout?(scanout: ReceivedScanout): void
  /** A buffer was received. */
  buffer?(buffer: ReceivedBuffer): void
  /** The layout of a buffer changed. */
  described?(buffer: ReceivedBuffer): void
  /** The guest took the buffer back. */
  removed?(buffer: ReceivedBuffer): void
}

/**
 * Client of an export socket: receives a guest's frames and buffers in place.
 *
 *     const client = await FrameClient.connect('/run/frames.sock')
 *     for await (const frame of client.frames()) {
 *       encode(frame.bytes, frame.picture, frame.damage)
 *       frame.acknowledge()
 *     }
 *
 * Runs in Node's event loop, and keeps it alive until it is closed or the server closes the connection. At most one
 * frame of each source waits to be taken; meanwhile the server merges further damage.
 */
export class FrameClient implements Receiver {
  /** True if the server shares memory files, with everything they contain. */
  memoryFiles = false
  /** Announced scanouts. */
  readonly scanouts = new Map<number, ReceivedScanout>()
  /** Buffers that are not yet released. */
  readonly buffers = new Map<number, ReceivedBuffer>()
  /** Resolves when the state at the time of the connection is received, or the connection ended. */
  readonly ready: Promise<void>
  readonly #wanted: number
  readonly #connection: StreamConnection
  readonly #messages = new FrameStream(MAX_MESSAGE_BYTES, MAX_FILES)
  readonly #handlers: ReadonlyMap<number, Handler> = new Map<number, Handler>([
    [HELLO.type, (payload) => this.#greet(payload)],
    [REFUSED.type, (payload) => this.ended(textIn(REFUSED.payload.parse(payload).bytes))],
    [BUFFER.type, (payload, descriptors) => this.#begin(payload, descriptors)],
    [EXTENTS.type, (payload) => this.#addExtents(payload)],
    [BUFFER_REMOVED.type, (payload) => this.#remove(BUFFER_REMOVED.payload.parse(payload).buffer)],
    [DESCRIPTION.type, (payload) => this.#describe(payload)],
    [SCANOUT.type, (payload) => this.#scanout(payload)],
    [FRAME.type, (payload) => this.#frame(payload)],
    [READY.type, () => this.#resolveReady()],
  ])
  /** Received frames that are not yet taken. */
  readonly #frames: Frame[] = []
  /** Number of unacknowledged frames of each buffer. */
  readonly #open = new Map<ReceivedBuffer, number>()
  /** Sequence number of the last frame of each source. */
  readonly #sequences = new Map<string, number>()
  readonly #listeners = new Set<FrameListener>()
  #assembly: BufferAssembly | undefined
  #greeted = false
  #ended = false
  /** Reason why the connection ended; undefined if it was closed. */
  #failure: FrameError | undefined
  /** Wakes waiters for a frame, for HELLO, or for the end. */
  #wake: () => void = () => {}
  #changed: Promise<void>
  #resolveReady: () => void = () => {}

  private constructor(stream: UnixStream, options: FrameClientOptions) {
    const { scanouts = true, buffers = false, reactor = { watch: pollInEventLoop } } = options
    this.#wanted = (scanouts ? Wanted.SCANOUTS : 0) | (buffers ? Wanted.BUFFERS : 0)
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve
    })
    this.#changed = this.#nextChange()
    this.#connection = new StreamConnection(stream, reactor, this)
  }

  /**
   * Connects, and waits for the server's HELLO.
   * @throws {FrameError} if there is no server, or it refuses
   */
  static async connect(path: string, options: FrameClientOptions = {}): Promise<FrameClient> {
    const client = new FrameClient(openStream(path), options)
    const patience = setTimeout(() => {
      client.ended(`${path} is not an export socket: it sends no greeting`)
    }, TIMEOUT_MS)
    try {
      while (!client.#greeted && !client.#ended) await client.#changed
      if (!client.#greeted) throw client.#failure ?? new FrameError(`the server on ${path} closed the connection`)
      return client
    } finally {
      clearTimeout(patience)
    }
  }

  /** True after the connection ended. */
  get isEnded(): boolean {
    return this.#ended
  }

  /** Adds a listener. @returns a function that removes it */
  listen(listener: FrameListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Yields frames, each of which must be acknowledged. Returns when the client is closed or the server closes the
   * connection.
   * @throws {FrameError} the server's reason, if it sent one
   */
  async *frames(): AsyncGenerator<Frame, void, undefined> {
    for (;;) {
      const frame = this.#frames.shift()
      if (frame) {
        yield frame
        continue
      }
      if (this.#failure) throw this.#failure
      if (this.#ended) return
      await this.#changed
    }
  }

  /** Releases all buffers and ends the connection. */
  close(): void {
    this.ended()
  }

  receive(bytes: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#messages.add(bytes, descriptors)
    for (let message = this.#messages.next(); message && !this.#ended; message = this.#messages.next()) {
      try {
        this.#dispatch(message)
      } catch (error) {
        this.ended(`invalid message from the server: ${error instanceof Error ? error.message : error}`)
      }
    }
    if (this.#messages.fault !== undefined) this.ended(`not an export socket: ${this.#messages.fault}`)
  }

  /** Ends the connection. @param reason undefined if either side closed it */
  ended(reason?: string): void {
    if (this.#ended) return
    this.#ended = true
    if (reason !== undefined) this.#failure = new FrameError(reason)
    this.#connection.close()
    this.#messages.close()
    this.#assembly?.close()
    for (const buffer of this.buffers.values()) buffer.close()
    this.buffers.clear()
    this.#frames.length = 0
    this.#resolveReady()
    this.#wake()
  }

  #dispatch({ type, payload, descriptors }: RawMessage): void {
    if (type !== BUFFER.type && descriptors.length > 0) {
      for (const descriptor of descriptors) descriptor.close()
      throw new FrameError(`descriptors with a message of type ${type}`)
    }
    const handle = this.#handlers.get(type)
    if (!handle) throw new FrameError(`unknown message type ${type}`)
    handle(payload, descriptors)
  }

  #greet(payload: Uint8Array): void {
    const { magic, version, flags } = HELLO.payload.parse(payload)
    if (magic !== MAGIC) throw new FrameError('HELLO has the magic number of another protocol')
    if (version !== VERSION) throw new FrameError(`protocol version ${version} is not supported, only ${VERSION}`)
    this.memoryFiles = (flags & ServerFlag.MEMORY_FILES) !== 0
    this.#greeted = true
    this.#send(encode(HELLO, { magic: MAGIC, version: VERSION, flags: this.#wanted }))
    this.#wake()
  }

  #begin(payload: Uint8Array, descriptors: readonly Descriptor[]): void {
    this.#assembly?.close()
    this.#assembly = new BufferAssembly(payload, descriptors)
    this.#finish(this.#assembly)
  }

  #addExtents(payload: Uint8Array): void {
    if (!this.#assembly) throw new FrameError('extents without a buffer')
    this.#assembly.add(payload)
    this.#finish(this.#assembly)
  }

  #finish(assembly: BufferAssembly): void {
    if (!assembly.complete) return
    this.#assembly = undefined
    const buffer = assembly.finish((released) => this.#release(released))
    this.buffers.get(buffer.id)?.close()
    this.buffers.set(buffer.id, buffer)
    for (const listener of this.#listeners) listener.buffer?.(buffer)
  }

  #remove(id: number): void {
    const buffer = this.buffers.get(id)
    if (!buffer) return
    buffer.removed = true
    for (const listener of this.#listeners) listener.removed?.(buffer)
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
    // The buffer may have been released while this message was in transit.
    if (!buffer || buffer.released || !picture) {
      if (source === FrameSource.SCANOUT) this.#acknowledge(source, id, sequence)
      return
    }
    const before = this.#sequences.get(`${source} ${id}`)
    this.#sequences.set(`${source} ${id}`, sequence)
    const info = {
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
    this.#frames.push(new Frame(info, (frame) => this.#done(frame, source, id)))
    this.#wake()
  }

  #done({ buffer, sequence }: Frame, source: FrameSource, id: number): void {
    const left = (this.#open.get(buffer) ?? 1) - 1
    if (left > 0) this.#open.set(buffer, left)
    else this.#open.delete(buffer)
    // The server forgets the frames of a released buffer.
    if (source === FrameSource.SCANOUT || !buffer.released) this.#acknowledge(source, id, sequence)
    this.#releaseUnused(buffer)
  }

  #acknowledge(source: FrameSource, id: number, sequence: number): void {
    this.#send(encode(ACKNOWLEDGE, { source, id, sequence }))
  }

  #releaseUnused(buffer: ReceivedBuffer): void {
    if (buffer.removed && !buffer.kept && !this.#open.has(buffer)) buffer.release()
  }

  #release({ id }: ReceivedBuffer): void {
    this.buffers.delete(id)
    this.#send(encode(RELEASE, { buffer: id }))
  }

  #send(bytes: Uint8Array): void {
    if (this.#ended) return
    try {
      this.#connection.send(bytes)
    } catch (error) {
      const gone = error instanceof SystemCallError && ['EPIPE', 'ECONNRESET'].includes(error.code)
      // The last message of the server may still be readable.
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
    throw new FrameError(connectError(cause, path), { cause })
  }
}

function connectError({ code, message }: SystemCallError, path: string): string {
  switch (code) {
    case 'ENOENT':
      return `there is no ${path}: start the device with --export ${path}`
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return `no server listens on ${path}: start the device with --export ${path}`
    case 'EACCES':
      return `no permission to open ${path}: connect as the user of the device, or start it with --export-user`
    default:
      return message
  }
}
