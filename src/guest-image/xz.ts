import { crc32 } from 'node:zlib'
import xz from 'xz-decompress'
import { KernelFileError } from './kernel-file-error.ts'
import { decodeX86Branches } from './x86-branches.ts'

// The kernel's payload: an xz stream of one block with a CRC-32, filtered for x86 branches before LZMA2
//
//   0      6       8       12
//   | magic | flags | crc32 | block header | LZMA2 data | pad to 4 | check | index | footer |
//
//   block header  size/4-1 (u8)  flags (u8: filters-1, 40 and 80: a size follows)  the sizes
//                 each filter: id, size of properties, properties ...  pad  crc32
//   index         00  number of blocks  then for each: size without padding, size of its content  pad  crc32
//   footer        crc32  size of the index/4-1 (u32)  flags  59 5a
//
const MAGIC = [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
const FOOTER_SIZE = 12
const CHECK_NONE = 0
const CHECK_CRC32 = 1
const HAS_PACKED_SIZE = 0x40
const HAS_SIZE = 0x80
const FILTER_X86 = 0x04
const FILTER_LZMA2 = 0x21

/**
 * Decompresses an xz stream of one block, as the kernel's build makes it.
 *
 * The decompressor has no filter for x86 branches. The block is therefore passed to it without the filter, as a plain
 * LZMA2 block, and the filter is undone afterwards. The result must match the checksum of the original stream.
 */
export async function unpackXz(packed: Uint8Array): Promise<Uint8Array> {
  const { filters, lzma2, size, check } = readBlock(packed)
  const plain = wrapLzma2(lzma2.properties, lzma2.data, size)
  const content = new Uint8Array(size)
  let at = 0
  for await (const chunk of new xz.XzReadableStream(new Blob([plain]).stream())) {
    if (at + chunk.length > size) throw new KernelFileError('its content is larger than its index states')
    content.set(chunk, at)
    at += chunk.length
  }
  if (at !== size) throw new KernelFileError('its content is smaller than its index states')
  if (filters.includes(FILTER_X86)) decodeX86Branches(content)
  if (crc32(content) !== check) throw new KernelFileError('its checksum is wrong')
  return content
}

interface Block {
  readonly filters: readonly number[]
  readonly lzma2: { readonly properties: number; readonly data: Uint8Array }
  /** Size of the content. */
  readonly size: number
  readonly check: number
}

function readBlock(packed: Uint8Array): Block {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
  if (packed.length < 2 * FOOTER_SIZE + 8 || MAGIC.some((byte, i) => packed[i] !== byte)) {
    throw new KernelFileError('it is not compressed with xz')
  }
  if (packed[7] !== CHECK_CRC32) throw new KernelFileError('the checksum of its xz stream is not a CRC-32')
  const indexSize = 4 * (view.getUint32(packed.length - 8, true) + 1)
  const index = new Cursor(packed, packed.length - FOOTER_SIZE - indexSize)
  if (index.byte() !== 0 || index.number() !== 1)
    throw new KernelFileError('its xz stream does not have exactly one block')
  const unpadded = index.number()
  const size = index.number()

  const header = new Cursor(packed, 12)
  const headerSize = 4 * (header.byte() + 1)
  const flags = header.byte()
  // A multi-threaded compressor repeats the sizes of the index here.
  if ((flags & HAS_PACKED_SIZE) !== 0) header.number()
  if ((flags & HAS_SIZE) !== 0) header.number()
  const filters: number[] = []
  let properties = 0
  for (let i = 0; i <= (flags & 3); i++) {
    filters.push(header.number())
    const length = header.number()
    if (length > 1) throw new KernelFileError('its xz filters have unknown properties')
    if (length === 1) properties = header.byte()
  }
  const known = filters.join() === `${FILTER_LZMA2}` || filters.join() === `${FILTER_X86},${FILTER_LZMA2}`
  if (!known) throw new KernelFileError(`its xz filters are unsupported: ${filters}`)
  const start = 12 + headerSize
  const end = 12 + unpadded - 4
  if (end < start || end + 4 > packed.length) throw new KernelFileError('it is truncated')
  const data = packed.subarray(start, end)
  return { filters, lzma2: { properties, data }, size, check: view.getUint32((end + 3) & ~3, true) }
}

/** Returns an xz stream of LZMA2 data, without other filters and without a checksum of the content. */
function wrapLzma2(properties: number, data: Uint8Array, size: number): Uint8Array<ArrayBuffer> {
  const streamFlags = [0, CHECK_NONE]
  const blockHeader = withChecksum([2, 0, FILTER_LZMA2, 1, properties, 0, 0, 0])
  const index = [0, 1, ...encodeNumber(blockHeader.length + data.length), ...encodeNumber(size)]
  while (index.length % 4 !== 0) index.push(0)
  const indexWithChecksum = withChecksum(index)
  const backward = [...littleEndian(indexWithChecksum.length / 4 - 1), ...streamFlags]
  const parts = [
    [...MAGIC, ...withChecksum(streamFlags)],
    blockHeader,
    data,
    new Uint8Array(-data.length & 3),
    indexWithChecksum,
    [...littleEndian(crc32(Uint8Array.from(backward))), ...backward, 0x59, 0x5a],
  ]
  const stream = new Uint8Array(parts.reduce((total, part) => total + part.length, 0))
  let at = 0
  for (const part of parts) {
    stream.set(part, at)
    at += part.length
  }
  return stream
}

function withChecksum(bytes: readonly number[]): number[] {
  return [...bytes, ...littleEndian(crc32(Uint8Array.from(bytes)))]
}

function littleEndian(value: number): number[] {
  return [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24]
}

/** Encodes a number with seven bits a byte, lowest first; the top bit is set in all bytes except the last. */
function encodeNumber(value: number): number[] {
  const bytes: number[] = []
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80)
  return [...bytes, value]
}

class Cursor {
  #at: number

  constructor(
    private readonly bytes: Uint8Array,
    start: number,
  ) {
    this.#at = start
  }

  byte(): number {
    const byte = this.bytes[this.#at++]
    if (byte === undefined) throw new KernelFileError('it is truncated')
    return byte
  }

  number(): number {
    let value = 0
    for (let scale = 1; scale < 2 ** 35; scale *= 0x80) {
      const byte = this.byte()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    throw new KernelFileError('it has a number that is too large')
  }
}
