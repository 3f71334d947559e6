import { END, type UnixStream } from '../../../../host/linux/unix-stream.ts'
import { MessageFlag } from '../../protocol.ts'
import { encodeMessage } from '../../request-stream.ts'

/** `VIRTIO_GPU_RESP_OK_*` */
const OK_DISPLAY_INFO = 0x1101
const OK_EDID = 0x1104
const MODES = 16
const HEADER_BYTES = 12

/** Scanout as the front-end shows it. */
export interface ShownScanout {
  readonly width: number
  readonly height: number
  /** Pixels as words: X << 24 | R << 16 | G << 8 | B. */
  readonly pixels: Uint32Array
}

export interface ShownCursor {
  readonly x: number
  readonly y: number
  readonly visible: boolean
  readonly hotX: number
  readonly hotY: number
  readonly pixels: Uint32Array
}

/**
 * Front-end of a GPU that behaves as QEMU's: receives messages, draws them, and answers requests. It parses bytes
 * without the product's message tables, and asserts what QEMU relies on.
 *
 *     const frontEnd = new GpuFrontEnd(stream)
 *     frontEnd.receive()                     // all bytes that have arrived
 *     frontEnd.scanouts[0].pixels
 */
export class GpuFrontEnd {
  /** Numbers of the received messages, in order. */
  readonly requests: number[] = []
  readonly scanouts: (ShownScanout | undefined)[] = []
  readonly cursors: (ShownCursor | undefined)[] = []
  /** Protocol features that the back-end set. */
  agreed: bigint | undefined
  /** Protocol features to offer, and the size to report of each scanout. */
  features = 0b11n
  readonly sizes: ({ readonly width: number; readonly height: number } | undefined)[] = [{ width: 1280, height: 800 }]
  /** True to answer requests. */
  answers = true
  ended = false
  readonly #stream: UnixStream
  #bytes: Uint8Array = new Uint8Array(0)

  constructor(stream: UnixStream) {
    this.#stream = stream
  }

  /** Receives and handles messages, up to `most` bytes. @returns number of bytes received */
  receive(most = Number.POSITIVE_INFINITY): number {
    let taken = 0
    while (taken < most) {
      const received = this.#stream.receive()
      if (received === undefined) break
      if (received === END) {
        this.ended = true
        break
      }
      taken += received.bytes.length
      const joined = new Uint8Array(this.#bytes.length + received.bytes.length)
      joined.set(this.#bytes)
      joined.set(received.bytes, this.#bytes.length)
      this.#bytes = joined
      this.#takeMessages()
    }
    return taken
  }

  /** Sends a reply with these bytes, even if it matches no request. */
  reply(request: number, payload: Uint8Array, flags: number = MessageFlag.REPLY): void {
    this.#stream.send(encodeMessage(request, flags, payload, 0))
  }

  close(): void {
    this.#stream.close()
  }

  #takeMessages(): void {
    while (this.#bytes.length >= HEADER_BYTES) {
      const [request, flags, size] = wordsOf(this.#bytes, 0, 3)
      if (this.#bytes.length < HEADER_BYTES + size) return
      if (flags !== 0) throw new Error(`flags ${flags}`)
      const payload = this.#bytes.subarray(HEADER_BYTES, HEADER_BYTES + size)
      this.#bytes = this.#bytes.subarray(HEADER_BYTES + size)
      this.requests.push(request)
      this.#take(request, payload)
    }
  }

  #take(request: number, payload: Uint8Array): void {
    const words = wordsOf(payload, 0, payload.length >>> 2)
    switch (request) {
      case 1:
        if (this.answers) this.reply(request, new Uint8Array(BigUint64Array.of(this.features).buffer))
        return
      case 2:
        this.agreed = new BigUint64Array(payload.slice().buffer)[0]
        return
      case 3:
        if (this.answers) this.reply(request, this.#displayInfo())
        return
      case 4:
      case 5:
      case 6:
        this.#point(request, words)
        return
      case 7: {
        const [scanout, width, height] = words
        this.scanouts[scanout] =
          width === 0 ? undefined : { width, height, pixels: new Uint32Array(width * height).fill(0xffff_ffff) }
        return
      }
      case 8:
        this.#draw(words)
        return
      case 11:
        if (this.answers) this.reply(request, this.#edid(words[0]))
        return
      default:
        throw new Error(`message ${request}`)
    }
  }

  #draw(words: Uint32Array): void {
    const [scanout, x, y, width, height, ...pixels] = words
    const shown = this.scanouts[scanout]
    if (!shown) throw new Error('an update of a scanout without a size: QEMU would crash')
    if (pixels.length !== width * height) throw new Error(`${pixels.length} pixels for ${width} by ${height}`)
    if (x + width > shown.width || y + height > shown.height) throw new Error('an update outside its scanout')
    for (let row = 0; row < height; row++) {
      shown.pixels.set(pixels.slice(row * width, (row + 1) * width), (y + row) * shown.width + x)
    }
  }

  #point(request: number, words: Uint32Array): void {
    const [scanout, x, y] = Int32Array.from(words.subarray(0, 3))
    const before = this.cursors[scanout] ?? { hotX: 0, hotY: 0, pixels: new Uint32Array(0) }
    const [hotX, hotY, pixels] =
      request === 6 ? [words[3], words[4], words.slice(5)] : [before.hotX, before.hotY, before.pixels]
    this.cursors[scanout] = { x, y, visible: request !== 5, hotX, hotY, pixels }
  }

  #displayInfo(): Uint8Array {
    const words = new Uint32Array(6 + MODES * 6)
    words[0] = OK_DISPLAY_INFO
    for (const [i, size] of this.sizes.entries()) if (size) words.set([0, 0, size.width, size.height, 1, 0], 6 + i * 6)
    return new Uint8Array(words.buffer)
  }

  #edid(scanout: number): Uint8Array {
    const words = new Uint32Array(6 + 2 + 256)
    words[0] = OK_EDID
    words[6] = 256
    words.fill(0x0101_0101 * (scanout + 1), 8, 8 + 64)
    return new Uint8Array(words.buffer)
  }
}

function wordsOf(bytes: Uint8Array, offset: number, count: number): Uint32Array {
  return new Uint32Array(bytes.slice(offset, offset + count * 4).buffer)
}
