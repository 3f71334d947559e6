import type { Display } from '../../../../services/display.ts'
import type { Rect } from '../../../../services/rect.ts'
import { activateDevice, type DeviceRig, type DeviceRigOptions } from '../../../../virtio/testing/device-rig.ts'
import { DisplayFanout } from '../display-fanout.ts'
import { GpuDevice, type GpuInspection, type GpuOptions } from '../gpu.ts'
import { GpuQueue, GpuCommand as T } from '../protocol.ts'
import { RecordingDisplay } from './recording-display.ts'

/** Response of the device; a missing header reads as type 0. */
export interface GpuReply {
  readonly type: number
  readonly flags: number
  readonly fenceLow: number
  readonly fenceHigh: number
  readonly context: number
  readonly ring: number
  /** Bytes after the header. */
  readonly payload: Uint8Array
  /** Number of bytes that the device returned. */
  readonly written: number
}

export interface Entry {
  readonly address: number
  readonly length: number
}

/** Optional parts of a request. */
export interface RequestOptions {
  readonly flags?: number
  readonly fenceLow?: number
  readonly fenceHigh?: number
  readonly context?: number
  readonly ring?: number
  /** Bytes of room for the response. @default 1056, as Linux provides */
  readonly room?: number
  /** Sends only this many bytes of the request. */
  readonly cut?: number
}

/** Size of the largest response, to GET_EDID. */
const ROOM = 1056
const HEADER_SIZE = 24

/** Little-endian bytes of 32-bit words. */
function le32(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(words.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [i, word] of words.entries()) view.setUint32(i * 4, word, true)
  return bytes
}

/**
 * A GPU with its driver and a display. Requests are written word by word, as the specification draws them, so the tests
 * do not depend on the device's own parser.
 *
 *     const gpu = new GpuRig()
 *     gpu.create2d(1, 2, 64, 64)
 *     gpu.attach(1, [gpu.page(4 * 64 * 64)])
 *     gpu.setScanout(0, 1, { x: 0, y: 0, width: 64, height: 64 })
 *     gpu.display.surfaces[0]
 */
export class GpuRig {
  readonly display = new RecordingDisplay()
  readonly device: GpuDevice
  readonly driver: DeviceRig

  /** @param others further displays of the GPU */
  constructor(options?: GpuOptions, rigOptions?: DeviceRigOptions, others: readonly Display[] = []) {
    const all = others.length > 0 ? new DisplayFanout([this.display, ...others]) : this.display
    this.device = new GpuDevice(all, options)
    this.driver = activateDevice(this.device, rigOptions)
  }

  control(type: number, words: readonly number[] = [], options?: RequestOptions): GpuReply {
    return this.#send(GpuQueue.CONTROL, type, words, options)
  }

  cursor(type: number, words: readonly number[] = [], options?: RequestOptions): GpuReply {
    return this.#send(GpuQueue.CURSOR, type, words, options)
  }

  /** Allocates guest memory. */
  page(length: number): Entry {
    return { address: this.driver.allocator.allocate(length, 4096), length }
  }

  /** Writes 32-bit words to guest memory. */
  poke(entry: Entry, words: readonly number[]): void {
    this.driver.rigs[0].poke(entry.address, le32(words))
  }

  create2d(id: number, format: number, width: number, height: number): GpuReply {
    return this.control(T.RESOURCE_CREATE_2D, [id, format, width, height])
  }

  createBlob(id: number, size: number, entries: readonly Entry[], blobMem = 1, blobFlags = 0): GpuReply {
    const head = [id, blobMem, blobFlags, entries.length, 0, 0, size >>> 0, Math.floor(size / 2 ** 32)]
    return this.control(T.RESOURCE_CREATE_BLOB, [...head, ...memEntries(entries)])
  }

  attach(id: number, entries: readonly Entry[], count = entries.length): GpuReply {
    return this.control(T.RESOURCE_ATTACH_BACKING, [id, count, ...memEntries(entries)])
  }

  detach(id: number): GpuReply {
    return this.control(T.RESOURCE_DETACH_BACKING, [id, 0])
  }

  unref(id: number): GpuReply {
    return this.control(T.RESOURCE_UNREF, [id, 0])
  }

  setScanout(scanout: number, id: number, rect: Rect): GpuReply {
    return this.control(T.SET_SCANOUT, [...rectWords(rect), scanout, id])
  }

  setScanoutBlob(
    scanout: number,
    id: number,
    layout: { width: number; height: number; format?: number; stride?: number; offset?: number },
    rect: Rect = { x: 0, y: 0, width: layout.width, height: layout.height },
  ): GpuReply {
    const { width, height, format = 2, stride = width * 4, offset = 0 } = layout
    const planes = [stride, 0, 0, 0, offset, 0, 0, 0]
    return this.control(T.SET_SCANOUT_BLOB, [...rectWords(rect), scanout, id, width, height, format, 0, ...planes])
  }

  transfer(id: number, rect: Rect, offset = 0): GpuReply {
    const words = [...rectWords(rect), offset >>> 0, Math.floor(offset / 2 ** 32), id, 0]
    return this.control(T.TRANSFER_TO_HOST_2D, words)
  }

  flush(id: number, rect: Rect): GpuReply {
    return this.control(T.RESOURCE_FLUSH, [...rectWords(rect), id, 0])
  }

  updateCursor(scanout: number, id: number, x = 0, y = 0, hotX = 0, hotY = 0): GpuReply {
    return this.cursor(T.UPDATE_CURSOR, [scanout, x, y, 0, id, hotX, hotY, 0])
  }

  moveCursor(scanout: number, x: number, y: number): GpuReply {
    return this.cursor(T.MOVE_CURSOR, [scanout, x, y, 0, 0, 0, 0, 0])
  }

  /** Counters and states, as the inspector receives them. */
  inspect(): GpuInspection {
    return this.device.inspect()
  }

  #send(queue: number, type: number, words: readonly number[], options: RequestOptions = {}): GpuReply {
    const { flags = 0, fenceLow = 0, fenceHigh = 0, context = 0, ring = 0, room = ROOM, cut } = options
    const request = le32([type, flags, fenceLow, fenceHigh, context, ring, ...words]).subarray(0, cut)
    const reply = this.driver.send(queue, [request], room > 0 ? [room] : [])
    const bytes = new Uint8Array(Math.max(HEADER_SIZE, reply.written))
    bytes.set(reply.bytes)
    const header = new DataView(bytes.buffer)
    return {
      type: header.getUint32(0, true),
      flags: header.getUint32(4, true),
      fenceLow: header.getUint32(8, true),
      fenceHigh: header.getUint32(12, true),
      context: header.getUint32(16, true),
      ring: header.getUint32(20, true),
      payload: bytes.subarray(HEADER_SIZE),
      written: reply.written,
    }
  }
}

function rectWords({ x, y, width, height }: Rect): number[] {
  return [x, y, width, height]
}

function memEntries(entries: readonly Entry[]): number[] {
  return entries.flatMap(({ address, length }) => [address >>> 0, Math.floor(address / 2 ** 32), length, 0])
}
