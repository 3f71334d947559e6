import { framebufferPixels, type NoPixels } from '../../devices/virtio/gpu/pixels/framebuffer-pixels.ts'
import { cutRect } from '../../machine/cut-rect.ts'
import type { Pixels, Rect } from '../../machine/machine.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Frame } from '../../sharing/frames/frame.ts'
import { FrameClient, type FrameClientOptions, type ReceivedScanout } from '../../sharing/frames/frame-client.ts'
import type { ReceivedBuffer } from '../../sharing/frames/received-buffer.ts'

/** What becomes of screens. */
export interface ScreenEvents {
  /** Pixels of a mapped screen changed. Further damage follows after `taken`. */
  damage(scanout: number, rects: readonly Rect[]): void
  /** A screen is read here from now on, or no more. */
  inPlace(scanout: number, inPlace: boolean): void
  /** A line for people. */
  log(line: string): void
}

/** What the inspector shows of a screen. */
export type ScreenInspection = {
  readonly scanout: number
  readonly inPlace: boolean
  /** Why that is so, for people. */
  readonly reason: string
  readonly frames: number
  /** Bytes of pixels that were read for the page. */
  readonly bytesRead: number
}

interface Screen {
  shown: ReceivedScanout | undefined
  /** Why it is read here, or not. */
  reason: string
  /** Damage that was sent and not acknowledged. */
  frame: Frame | undefined
  frames: number
  bytesRead: number
}

/**
 * Screens of a guest whose GPU is another process, read where their bytes lie: out of memory that both have, for the first and only
 * time when a page wants them. Those that cannot be had so are for the GPU's process to read.
 *
 *     const screens = await InPlaceScreens.connect('/run/frames.sock', events)
 *     screens.read(0, rect) ?? askTheDevice(0, rect)
 */
export class MappedScreens {
  readonly #client: FrameClient
  readonly #screens = new Map<number, Screen>()
  /** Reasons that the log has. */
  readonly #logged = new Set<string>()
  #closed = false

  /** @throws {FrameError} */
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

  /** Pixels of a part, or all, of a screen; undefined where they cannot be had here. */
  read(index: number, part: Rect | undefined): Pixels | undefined {
    const screen = this.#screens.get(index)
    const { buffer, picture, source } = screen?.shown ?? {}
    if (!screen || !buffer || !picture || !source || buffer.released) return undefined
    const rect = cutRect(part, source)
    // It may be a part of what was shown before, which was larger.
    if (!(rect.width > 0 && rect.height > 0)) return { ...rect, data: new Uint8Array(0) }
    const data = pixelsOf(buffer, picture, { ...rect, x: source.x + rect.x, y: source.y + rect.y })
    if ('reason' in data) {
      this.#giveUp(index, screen, data.reason)
      return undefined
    }
    screen.bytesRead += data.length
    return { ...rect, data }
  }

  /** Acknowledges the last damage. @returns true if it was sent from here */
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
      this.#change(index, screen, undefined, 'it is off')
      return
    }
    if (!buffer || !picture) {
      this.#giveUp(index, screen, scanout.reason)
      return
    }
    // It is mapped once, for as long as the guest has it.
    const first = pixelsOf(buffer, picture, { ...scanout.source, width: 1, height: 1 })
    if ('reason' in first) this.#giveUp(index, screen, first.reason)
    else this.#change(index, screen, scanout, buffer.reason)
  }

  #giveUp(index: number, screen: Screen, reason: string): void {
    if (!this.#logged.has(reason)) this.events.log(`pixels come by messages of the GPU's process: ${reason}`)
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
    let reason = 'the GPU gives no more screens'
    try {
      for await (const frame of this.#client.frames()) this.#take(frame)
    } catch (error) {
      reason = reasonOf(error)
    }
    if (this.#closed) return
    for (const [index, screen] of this.#screens) this.#giveUp(index, screen, reason)
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

/** What is there is read as it is while a device draws, which may take as long as it likes. */
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
