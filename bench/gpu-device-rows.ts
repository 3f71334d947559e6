import { GuestBuffers } from '../src/backends/buffers/guest-buffers.ts'
import { guestMemoryOf, memfd, PAGE } from '../src/backends/buffers/testing/test-memory.ts'
import type { GpuInspection } from '../src/devices/virtio/gpu/gpu.ts'
import { GpuResponse } from '../src/devices/virtio/gpu/protocol.ts'
import { type Entry, GpuRig } from '../src/devices/virtio/gpu/testing/gpu-rig.ts'
import type { Descriptor } from '../src/host/linux/descriptor.ts'
import type { Rect, Surface } from '../src/services/display.ts'
import type { Variant } from './bench.ts'
import type { Figures } from './figures.ts'
import type { Driver } from './gpu-driver.ts'
import { type FrameSize, frameBytes, Lazy, scatteredPages, sizeName, timeOf, touch } from './gpu-frame.ts'

const DAMAGED: FrameSize = { width: 3840, height: 2160 }
const PERCENTS = [1, 10, 100]
const FLIPPED: FrameSize = { width: 1920, height: 1080 }
/** Frames of a guest that has so many buffers, which it makes once. */
const FRAMES = 1000
const BUFFERS = 3
/** Frames of a guest that makes a buffer for each: enough for a figure. */
const UNKEPT_FRAMES = 10
/** For rings and requests. */
const ROOM = 16 << 20
const NOWHERE = '/dev/no-udmabuf'
const FORMAT = 2

/** How the GPU gives the guest's pictures to its host. */
type Path = 'scatter' | 'linear' | 'dma-buf' | '2D resource'

/** A GPU, and a guest with pictures in single pages. */
class PictureGuest {
  readonly #file: Descriptor
  readonly #memory: ReturnType<typeof guestMemoryOf>
  readonly #buffers: GuestBuffers | undefined
  readonly #gpu: GpuRig
  readonly #pictures: readonly (readonly Entry[])[]
  readonly #target: Uint8Array
  readonly whole: Rect

  constructor(
    private readonly size: FrameSize,
    path: Path,
    random: () => number,
    pictures = BUFFERS,
  ) {
    const bytes = frameBytes(size)
    // Pieces are of a power of two, and begin at a multiple of it; pages between those of a picture are others'.
    const length = ROOM + (pictures + 1) * 2 ** Math.ceil(Math.log2(2 * bytes))
    this.whole = { x: 0, y: 0, ...size }
    this.#file = memfd(length)
    this.#memory = guestMemoryOf([[0, this.#file, length]])
    const [region] = this.#memory.memory.regions
    // A linear view is what becomes of a buffer where there is no driver.
    if (path === 'linear' || path === 'dma-buf') {
      this.#buffers = GuestBuffers.open(path === 'linear' ? { device: NOWHERE } : {})
    }
    this.#gpu = new GpuRig(this.#buffers ? { sharing: this.#buffers } : {}, { memory: region })
    const pages = Math.ceil(bytes / PAGE)
    this.#pictures = Array.from({ length: pictures }, () => {
      const { address } = this.#gpu.page(2 * pages * PAGE)
      region.u8.fill(1, address, address + 2 * pages * PAGE)
      return scatteredPages(pages, 'single pages', random).map(([page]) => ({
        address: address + page * PAGE,
        length: PAGE,
      }))
    })
    this.#target = new Uint8Array(bytes).fill(1)
    if (path === '2D resource') this.#make2d()
  }

  get surface(): Surface {
    const [surface] = this.#gpu.display.surfaces
    if (!surface) throw new Error('nothing is shown')
    return surface
  }

  /** The `index`th picture becomes a resource. */
  make(index: number): void {
    const entries = this.#pictures[index % this.#pictures.length]
    done(this.#gpu.createBlob(index + 1, entries.length * PAGE, entries))
  }

  show(index: number): void {
    done(this.#gpu.setScanoutBlob(0, index + 1, this.size))
  }

  forget(index: number): void {
    done(this.#gpu.unref(index + 1))
  }

  /** The guest says what changed. */
  flush(index: number, rect: Rect): void {
    this.#gpu.display.damages.length = 0
    done(this.#gpu.flush(index + 1, rect))
  }

  transfer(rect: Rect): void {
    done(this.#gpu.transfer(1, rect, (rect.y * this.size.width + rect.x) * 4))
  }

  /** What a display does that wants a copy. */
  copy(rect: Rect): void {
    const { surface } = this
    if (surface.read(rect, this.#target, 0, rect.width * 4) === 0) throw new Error('nothing was read')
  }

  /** What one does that takes the pixels from where they are: this one looks at each page. */
  takeInPlace(): void {
    const { buffer } = this.surface
    if (!buffer) throw new Error(`not shared: ${this.surface.reason}`)
    buffer.beginRead()
    touch(buffer.bytes)
    buffer.endRead()
  }

  get inspection(): GpuInspection {
    return this.#gpu.inspect()
  }

  /** Bytes that were copied so far, as the device counts them. */
  get copied(): number {
    const [{ bytesRead, bytesTransferred }] = this.inspection.scanouts
    return bytesRead + bytesTransferred
  }

  /** Buffers made so far. */
  get made(): number {
    return this.#buffers?.inspect().made.buffers ?? 0
  }

  /** Pieces of a picture, once neighbours are one. */
  get pieces(): number {
    return this.#pictures[0].length
  }

  close(): void {
    this.#buffers?.close()
    this.#memory.close()
    this.#file.close()
  }

  #make2d(): void {
    const { width, height } = this.size
    done(this.#gpu.create2d(1, FORMAT, width, height))
    done(this.#gpu.attach(1, this.#pictures[0]))
    done(this.#gpu.setScanout(0, 1, this.whole))
  }
}

function done({ type }: { readonly type: number }): void {
  if (type !== GpuResponse.OK_NODATA) throw new Error(`the GPU answered ${type.toString(16)}`)
}

/** A rectangle in the middle that is so much of the picture. */
function damageOf({ width, height }: FrameSize, percent: number): Rect {
  const scale = Math.sqrt(percent / 100)
  const rect = { width: Math.round(width * scale), height: Math.round(height * scale) }
  return { x: (width - rect.width) >> 1, y: (height - rect.height) >> 1, ...rect }
}

/** What a flush costs by how much changed: the command, and what the display does then. */
export function damageRows(random: () => number, driver: Driver | undefined): Variant[] {
  const guestOf = (path: Path) =>
    new Lazy(() => {
      const guest = new PictureGuest(DAMAGED, path, random, 1)
      if (path !== '2D resource') {
        guest.make(0)
        guest.show(0)
      }
      return guest
    })
  const guests = { scatter: guestOf('scatter'), linear: guestOf('linear'), '2D resource': guestOf('2D resource') }
  const sharing = driver ? guestOf('dma-buf') : undefined
  return PERCENTS.flatMap((percent) => {
    const rect = damageOf(DAMAGED, percent)
    const row = (name: string, guest: Lazy<PictureGuest>, display: (guest: PictureGuest) => void): Variant => ({
      group: `${percent} % of ${sizeName(DAMAGED)} changed`,
      name,
      measure: async () => measureFlushes(guest.get(), rect, display),
      close: async () => guest.close(),
    })
    const copy = (guest: PictureGuest) => guest.copy(rect)
    const inPlace = (guest: PictureGuest) => guest.takeInPlace()
    return [
      row('scatter, copied', guests.scatter, copy),
      row('linear, copied', guests.linear, copy),
      row('linear, in place', guests.linear, inPlace),
      row('2D resource, copied', guests['2D resource'], (guest) => {
        guest.transfer(rect)
        guest.copy(rect)
      }),
      ...(sharing ? [row('dma-buf, copied', sharing, copy), row('dma-buf, in place', sharing, inPlace)] : []),
    ]
  })
}

function measureFlushes(guest: PictureGuest, rect: Rect, display: (guest: PictureGuest) => void): Figures {
  const before = { copied: guest.copied, made: guest.made, flushes: guest.inspection.scanouts[0].flushes }
  const time = timeOf(() => {
    guest.flush(0, rect)
    display(guest)
  })
  const flushes = guest.inspection.scanouts[0].flushes - before.flushes
  return {
    time,
    copied: (guest.copied - before.copied) / flushes,
    made: ((guest.made - before.made) / flushes) * 1000,
    pieces: guest.pieces,
  }
}

/** What a guest costs that draws a frame after the other, each in another buffer than the last. */
export function flipRows(random: () => number, driver: Driver | undefined): Variant[] {
  const row = (name: string, path: Path, frames: number, kept: boolean, display: (guest: PictureGuest) => void) => {
    const guest = new Lazy(() => new PictureGuest(FLIPPED, path, random))
    return {
      group: `${FRAMES} frames of ${sizeName(FLIPPED)}`,
      name,
      measure: async () => measureFlips(guest.get(), frames, kept, display),
      close: async () => guest.close(),
    }
  }
  const copy = (guest: PictureGuest) => guest.copy(guest.whole)
  const inPlace = (guest: PictureGuest) => guest.takeInPlace()
  return [
    row('scatter, copied', 'scatter', FRAMES, true, copy),
    row('linear, copied', 'linear', FRAMES, true, copy),
    row('linear, in place', 'linear', FRAMES, true, inPlace),
    row('linear, made for each', 'linear', UNKEPT_FRAMES, false, inPlace),
    ...(driver
      ? [
          row('dma-buf, in place', 'dma-buf', FRAMES, true, inPlace),
          row('dma-buf, made for each', 'dma-buf', UNKEPT_FRAMES, false, inPlace),
        ]
      : []),
  ]
}

/** @param kept whether the guest uses its buffers again; the figures of others are scaled to as many frames */
function measureFlips(
  guest: PictureGuest,
  frames: number,
  kept: boolean,
  display: (guest: PictureGuest) => void,
): Figures {
  const before = { copied: guest.copied, made: guest.made }
  const began = performance.now()
  for (let frame = 0; frame < frames; frame++) {
    const index = kept ? frame % BUFFERS : frame
    if (!kept || frame < BUFFERS) guest.make(index)
    guest.show(index)
    if (!kept && frame > 0) guest.forget(index - 1)
    guest.flush(index, guest.whole)
    display(guest)
  }
  const copied = (guest.copied - before.copied) / frames
  if (kept) for (let index = 0; index < BUFFERS; index++) guest.forget(index)
  else guest.forget(frames - 1)
  return {
    time: ((performance.now() - began) / frames) * 1000,
    copied,
    made: ((guest.made - before.made) / frames) * FRAMES,
    pieces: guest.pieces,
  }
}
