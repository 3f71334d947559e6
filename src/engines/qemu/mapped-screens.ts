import { framebufferPixels, type NoPixels } from '../../devices/virtio/gpu/pixels/framebuffer-pixels.ts'
import { cutRect } from '../../machine/cut-rect.ts'
import type { Pixels, Rect } from '../../machine/machine.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Frame } from '../../sharing/frames/frame.ts'
import { FrameClient, type FrameClientOptions, type ReceivedScanout } from '../../sharing/frames/frame-client.ts'
import type { ReceivedBuffer } from '../../sharing/frames/received-buffer.ts'

/** Receives the events of mapped screens. */
export interface ScreenEvents {
  /** Pixels of a mapped screen changed. Further damage follows after `taken`. */
  damage(scanout: number, rects: readonly Rect[]): void
  /** In-place reading of a screen started or stopped. */
  inPlace(scanout: number, inPlace: boolean): void
  /** Line for the log. */
  log(line: string): void
}

/** Inspection of a screen. */
export type ScreenInspection = {
  readonly scanout: number
  readonly inPlace: boolean
  /** Reason for `inPlace`, as text for the operator. */
  readonly reason: string
  readonly frames: number
  /** Bytes of pixels that were read for the page. */
  readonly bytesRead: number
}

interface Screen {
  shown: ReceivedScanout | undefined
  /** Reason why the screen is read in place, or not. */
  reason: string
  /** Frame whose damage was sent and is not acknowledged. */
  frame: Frame | undefined
  frames: number
  bytesRead: number
}

/**
 * Screens of a guest whose GPU is another process, read in place from shared memory, so that pixels are copied only
 * once, for the page. Screens whose memory is not shared must be read by the GPU process.
 *
 *     const screens = await MappedScreens.connect('/run/frames.sock', events)
 *     screens.read(0, rect) ?? askTheDevice(0, rect)
 */
export class MappedScreens {
  readonly #client: FrameClient
  readonly #screens = new Map<number, Screen>()
  /** Reasons that were logged. */
  readonly #logged = new Set<string>()
  #closed = false

  /** @throws {FrameError} if the export socket cannot be used */
  static async connect(path: string, events: ScreenEvents, options: FrameClientOptions = {}): Promise<MappedScreens> {
    return new MappedScreens(await FrameClient.connect(path, options), events)
  }

  private constructor(
    client: FrameClient,
    private readonly events: ScreenEvents,
  ) {
    this.#client = client
    client.listen({ scanout: (scanout) => this.#show(scanout) })
    for (const scanout of client.scanouts.values()) this.#show(scanout)
    void this.#follow()
  }

  /** Reads pixels of a screen. @param part default: all @returns undefined if it cannot be read in place */
  read(index: number, part: Rect | undefined): Pixels | undefined {
    const screen = this.#screens.get(index)
    const { buffer, picture, source } = screen?.shown ?? {}
    if (!screen || !buffer || !picture || !source || buffer.released) return undefined
    const rect = cutRect(part, source)
    // The part may be of an earlier, larger screen.
    if (!(rect.width > 0 && rect.height > 0)) return { ...rect, data: new Uint8Array(0) }
    const data = pixelsOf(buffer, picture, { ...rect, x: source.x + rect.x, y: source.y + rect.y })
    if ('reason' in data) {
      this.#stopReading(index, screen, data.reason)
      return undefined
    }
    screen.bytesRead += data.length
    return { ...rect, data }
  }

  /** Acknowledges the last damage. @returns false if this object did not send it */
  taken(index: number): boolean {
    const screen = this.#screens.get(index)
    const frame = screen?.frame
    if (!screen || !frame) return false
    screen.frame = undefined
    frame.acknowledge()
    return true
  }

  inspect(): ScreenInspection[] {
    return [...this.#screens].map(([scanout, { shown, reason, frames, bytesRead }]) => {
      return { scanout, inPlace: shown !== undefined, reason, frames, bytesRead }
    })
  }

  close(): void {
    this.#closed = true
    this.#client.close()
  }

  #show(scanout: ReceivedScanout): void {
    const { index, path, buffer, picture } = scanout
    const screen = this.#at(index)
    if (path === undefined) {
      this.#change(index, screen, undefined, 'the scanout is off')
      return
    }
    if (!buffer || !picture) {
      this.#stopReading(index, screen, scanout.reason)
      return
    }
    // Maps the buffer, once for its lifetime.
    const first = pixelsOf(buffer, picture, { ...scanout.source, width: 1, height: 1 })
    if ('reason' in first) this.#stopReading(index, screen, first.reason)
    else this.#change(index, screen, scanout, buffer.reason)
  }

  #stopReading(index: number, screen: Screen, reason: string): void {
    if (!this.#logged.has(reason)) this.events.log(`reading pixels by messages: ${reason}`)
    this.#logged.add(reason)
    this.#change(index, screen, undefined, reason)
  }

  #change(index: number, screen: Screen, shown: ReceivedScanout | undefined, reason: string): void {
    const before = screen.shown
    screen.shown = shown
    screen.reason = reason
    if ((before === undefined) !== (shown === undefined)) this.events.inPlace(index, shown !== undefined)
  }

  async #follow(): Promise<void> {
    let reason = 'the GPU process closed the export socket'
    try {
      for await (const frame of this.#client.frames()) this.#take(frame)
    } catch (error) {
      reason = reasonOf(error)
    }
    if (this.#closed) return
    for (const [index, screen] of this.#screens) this.#stopReading(index, screen, reason)
  }

  #take(frame: Frame): void {
    const screen = frame.scanout === undefined ? undefined : this.#at(frame.scanout)
    if (!screen?.shown || frame.scanout === undefined) {
      frame.acknowledge()
      return
    }
    screen.frame = frame
    screen.frames++
    this.events.damage(frame.scanout, frame.damage)
  }

  #at(index: number): Screen {
    let screen = this.#screens.get(index)
    if (!screen) {
      screen = { shown: undefined, reason: '', frame: undefined, frames: 0, bytesRead: 0 }
      this.#screens.set(index, screen)
    }
    return screen
  }
}

/** Reads pixels. While a device writes to the buffer, they are read without waiting for it. */
function pixelsOf(buffer: ReceivedBuffer, picture: FramebufferLayout, rect: Rect): Uint8Array | NoPixels {
  try {
    const { idle } = buffer
    if (idle) buffer.beginRead()
    const pixels = framebufferPixels(buffer.bytes, picture, rect)
    if (idle) buffer.endRead()
    return pixels
  } catch (error) {
    return { reason: reasonOf(error) }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
