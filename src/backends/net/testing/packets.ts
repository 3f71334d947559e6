import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { HEADER_BYTES, MAX_FRAME_BYTES } from '../../../services/packet.ts'

/** Returns a packet: an empty header, then a frame, in spans of these lengths and one with the rest. */
export function packetOf(frame: Uint8Array, cuts: readonly number[] = []): SpanList {
  const packet = new SpanList()
  packet.add(MemoryRegion.over(0, new Uint8Array(HEADER_BYTES)), 0, HEADER_BYTES)
  const bytes = new Uint8Array(new ArrayBuffer((frame.length + 3) & ~3))
  bytes.set(frame)
  const region = MemoryRegion.over(0, bytes)
  let at = 0
  for (const cut of cuts) {
    if (at + cut >= frame.length) break
    packet.add(region, at, cut)
    at += cut
  }
  packet.add(region, at, frame.length - at)
  return packet
}

/** Room for any packet, in several spans. */
export class PacketRoom {
  readonly packet = new SpanList()
  readonly #header = MemoryRegion.over(0, new Uint8Array(HEADER_BYTES))
  readonly #region = MemoryRegion.over(0, new Uint8Array((MAX_FRAME_BYTES + 3) & ~3))

  constructor() {
    this.packet.add(this.#header, 0, HEADER_BYTES)
    this.packet.add(this.#region, 0, 9)
    this.packet.add(this.#region, 9, 500)
    this.packet.add(this.#region, 509, MAX_FRAME_BYTES - 509)
  }

  get header(): Uint8Array {
    return this.#header.u8.slice()
  }

  /** @param length length of the packet, with its header */
  frame(length: number): Uint8Array {
    return this.#region.u8.slice(0, length - HEADER_BYTES)
  }
}
