import { GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import type { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { peerCredentials } from '../../host/linux/peer-credentials.ts'
import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import { limitedLog } from '../../log/limited-log.ts'
import type { Display, Rect, Surface } from '../../services/display.ts'
import { Consumer, type ConsumerInspection, type Frames, type ServedBuffer, type ServedScanout } from './consumer.ts'
import { refusal } from './encode.ts'
import { monotonicTime } from './monotonic-time.ts'

const MAX_CONSUMERS = 16
/** Time until the next accept(2) after a failed one, such as for lack of descriptors. */
const RETRY_MS = 1000
const ROOT = 0
const OWNER_ONLY = 0o600
/** Mode of a socket that other users may open: the list of users decides. */
const EVERYONE = 0o666

export interface FrameServerOptions {
  /**
   * Shares buffers that are not dma-bufs as memory files, which also contain the rest of guest memory or of the heap.
   * @default false
   */
  readonly memoryFiles?: boolean
  /** Ids of users who may connect, in addition to root and the user of this process. @default [] */
  readonly users?: readonly number[]
  readonly log?: (line: string) => void
}

/** Inspection of an export socket. */
export type FrameServerInspection = {
  readonly consumers: readonly ConsumerInspection[]
  /** Number of refused connections. */
  readonly refused: number
  /** Number of connections that the server ended. */
  readonly dropped: number
}

/**
 * Server of an export socket: shares the guest's surfaces and buffers with other programs of this host, in place.
 *
 *     const buffers = GuestBuffers.open()
 *     const frames = FrameServer.listen('/run/frames.sock', buffers, reactor)
 *     const gpu = new GpuDevice(new DisplayFanout([screen, frames]), { sharing: buffers })
 *     ...
 *     frames.close()
 *
 * The guest never waits for a consumer.
 */
export class FrameServer implements Display, Frames {
  readonly memoryFiles: boolean
  readonly scanouts: ServedScanout[] = []
  readonly #served = new Map<GuestBuffer, ServedBuffer>()
  readonly #consumers = new Set<Consumer>()
  readonly #users: ReadonlySet<number>
  readonly #log: (line: string) => void
  readonly #watching: Closable
  #listening: Closable | undefined
  /** Hook that runs before each sleep while there are consumers. */
  #hook: Closable | undefined
  #lastId = 0
  #refused = 0
  #dropped = 0

  private constructor(
    private readonly listener: UnixListener,
    private readonly reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>,
    buffers: Pick<GuestBuffers, 'buffers' | 'watch'>,
    { memoryFiles = false, users = [], log = () => {} }: FrameServerOptions,
  ) {
    this.memoryFiles = memoryFiles
    this.#users = new Set([ROOT, process.geteuid?.() ?? ROOT, ...users])
    this.#log = limitedLog(log)
    for (const buffer of buffers.buffers) this.#serve(buffer)
    this.#watching = buffers.watch({
      added: (buffer) => {
        const served = this.#serve(buffer)
        for (const consumer of this.#consumers) consumer.bufferAdded(served)
      },
      named: (buffer) => this.#describe(buffer),
      described: (buffer) => this.#describe(buffer),
      presented: (buffer, damage) => this.#present(buffer, damage),
      removed: (buffer) => this.#remove(buffer),
    })
    this.#listen()
  }

  /**
   * Listens at a path, which only the user of this process can open unless `users` is set.
   * @throws {SystemCallError} EADDRINUSE if another process listens there
   */
  static listen(
    path: string,
    buffers: Pick<GuestBuffers, 'buffers' | 'watch'>,
    reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>,
    options: FrameServerOptions = {},
  ): FrameServer {
    const mode = options.users && options.users.length > 0 ? EVERYONE : OWNER_ONLY
    return new FrameServer(UnixListener.listen(path, mode), reactor, buffers, options)
  }

  get buffers(): Iterable<ServedBuffer> {
    return this.#served.values()
  }

  scanout(index: number, surface: Surface | undefined): void {
    const scanout = this.#at(index)
    scanout.surface = surface
    scanout.sequence++
    scanout.time = monotonicTime()
    this.#show(index, scanout)
  }

  damage(index: number, rect: Rect): void {
    const scanout = this.#at(index)
    scanout.sequence++
    scanout.time = monotonicTime()
    // The backing of the surface may have changed since the last frame.
    if (this.#servedOf(scanout.surface) !== scanout.served) this.#show(index, scanout)
    for (const consumer of this.#consumers) consumer.scanoutDamaged(index, rect)
  }

  /** No effect: cursors are not exported. */
  cursor(): void {}

  moveCursor(): void {}

  inspect(): FrameServerInspection {
    return {
      consumers: [...this.#consumers].map((consumer) => consumer.inspect()),
      refused: this.#refused,
      dropped: this.#dropped,
    }
  }

  /** Removes the socket and ends all connections. Consumers keep the buffers that they received. */
  close(): void {
    this.#listening?.close()
    this.#watching.close()
    this.listener.close()
    for (const consumer of this.#consumers) consumer.ended()
  }

  #listen(): void {
    this.#listening = this.reactor.watch(this.listener.fd, () => {
      let stream: UnixStream | undefined
      try {
        stream = this.listener.accept()
        if (stream) this.#admit(stream)
      } catch (error) {
        stream?.close()
        this.#log(`not accepting consumers for ${RETRY_MS / 1000} s: ${error instanceof Error ? error.message : error}`)
        this.#listening?.close()
        this.#listening = this.reactor.timer(RETRY_MS, () => this.#listen())
      }
    })
  }

  #admit(stream: UnixStream): void {
    const credentials = peerCredentials(stream.descriptor)
    const { pid, uid } = credentials
    if (!this.#users.has(uid)) {
      const reason = `user ${uid} has no access to this guest's buffers`
      this.#log(`refused process ${pid}: ${reason}`)
      this.#refuse(stream, reason)
    } else if (this.#consumers.size >= MAX_CONSUMERS && !this.#makePlace()) {
      const reason = `there already are ${MAX_CONSUMERS} consumers`
      this.#log(`refused process ${pid}: ${reason}`)
      this.#refuse(stream, reason)
    } else {
      this.#hook ??= this.reactor.onTurn(() => this.#turn())
      const consumer = new Consumer(stream, credentials, this, this.reactor, {
        ended: (reason) => this.#removeConsumer(consumer, reason),
        log: (line) => this.#log(`process ${pid}: ${line}`),
      })
      this.#consumers.add(consumer)
      consumer.begin()
    }
  }

  /**
   * Ends the connection of a silent consumer to admit another: the longest silent one of the process with the most
   * connections.
   * @returns false if no consumer has been silent for long
   */
  #makePlace(): boolean {
    const places = new Map<number, number>()
    for (const { credentials } of this.#consumers) places.set(credentials.pid, (places.get(credentials.pid) ?? 0) + 1)
    const placesOf = ({ credentials }: Consumer) => places.get(credentials.pid) ?? 0
    const [first] = [...this.#consumers]
      .filter(({ silent }) => silent)
      .sort((a, b) => placesOf(b) - placesOf(a) || a.heardAt - b.heardAt)
    first?.ended('its place was needed for another consumer, and it was silent for longest')
    return first !== undefined
  }

  #refuse(stream: UnixStream, reason: string): void {
    this.#refused++
    stream.write(refusal(reason))
    stream.close()
  }

  #removeConsumer(consumer: Consumer, reason: string | undefined): void {
    this.#consumers.delete(consumer)
    if (this.#consumers.size === 0) {
      this.#hook?.close()
      this.#hook = undefined
    }
    if (reason === undefined) return
    this.#dropped++
    this.#log(`disconnected process ${consumer.credentials.pid}: ${reason}`)
  }

  #turn(): boolean {
    let more = false
    for (const consumer of this.#consumers) if (consumer.sendOutdated()) more = true
    return more
  }

  #show(index: number, scanout: ServedScanout): void {
    scanout.served = this.#servedOf(scanout.surface)
    for (const consumer of this.#consumers) consumer.scanoutChanged(index)
  }

  #servedOf(surface: Surface | undefined): ServedBuffer | undefined {
    const buffer = surface?.buffer
    return buffer instanceof GuestBuffer ? this.#served.get(buffer) : undefined
  }

  #serve(buffer: GuestBuffer): ServedBuffer {
    const served = { id: ++this.#lastId, buffer, sequence: 0, time: 0 }
    this.#served.set(buffer, served)
    return served
  }

  #describe(buffer: GuestBuffer): void {
    const served = this.#served.get(buffer)
    if (!served) return
    for (const consumer of this.#consumers) consumer.bufferDescribed(served)
  }

  #present(buffer: GuestBuffer, damage: Rect): void {
    const served = this.#served.get(buffer)
    if (!served) return
    served.sequence++
    served.time = monotonicTime()
    for (const consumer of this.#consumers) consumer.bufferPresented(served, damage)
  }

  #remove(buffer: GuestBuffer): void {
    const served = this.#served.get(buffer)
    if (!served) return
    this.#served.delete(buffer)
    for (const [index, scanout] of this.scanouts.entries()) if (scanout.served === served) this.#show(index, scanout)
    for (const consumer of this.#consumers) consumer.bufferRemoved(served)
  }

  #at(index: number): ServedScanout {
    while (this.scanouts.length <= index) {
      this.scanouts.push({ surface: undefined, served: undefined, sequence: 0, time: 0 })
    }
    return this.scanouts[index]
  }
}
