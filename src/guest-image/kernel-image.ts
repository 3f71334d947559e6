import { readProgram } from './elf.ts'
import { KernelFileError } from './kernel-file-error.ts'
import { unpackXz } from './xz.ts'

// Linux/x86 boot protocol: a bzImage is real-mode set-up code, whose header locates the compressed kernel
//
//   0x1f1 setup_sects (u8)  0x1f4 syssize (u32, in 16 bytes)  0x202 "HdrS"  0x206 version (u16)
//   0x248 payload_offset (u32, from the protected-mode code)  0x24c payload_length (u32)
//
// The protected-mode code is loaded at 1 MiB and entered at its first byte, with ESI pointing to the boot parameters.
// The payload is an xz stream followed by 4 bytes with the size of its content: an ELF file.
const SETUP_SECTS = 0x1f1
const SYSSIZE = 0x1f4
const MAGIC = 0x202
const VERSION = 0x206
const PAYLOAD_OFFSET = 0x248
const PAYLOAD_LENGTH = 0x24c
const SECTOR = 512
const LOAD_ADDRESS = 0x10_0000
/** Maximum address of a 32-bit kernel; bounds the allocation for a malformed file. */
const MAX_ADDRESS = 0x0800_0000

/**
 * Makes a bzImage with an uncompressed kernel: an emulated guest would need seconds to decompress it.
 *
 *     | set-up sectors | jump to the entry | zeros | the ELF's segments, each at its address |
 *                      ^ loaded at 1 MiB
 *
 * Relocations are left out: the result boots only at the address that it was linked for, and needs `nokaslr`.
 */
export async function repackKernel(bzImage: Uint8Array): Promise<Uint8Array> {
  const header = new DataView(bzImage.buffer, bzImage.byteOffset, bzImage.byteLength)
  const isBzImage = bzImage.length > 0x268 && header.getUint32(MAGIC) === 0x48647253
  if (!isBzImage || header.getUint16(VERSION, true) < 0x0208) throw new KernelFileError('it is not a bzImage')
  const setup = bzImage.subarray(0, ((bzImage[SETUP_SECTS] || 4) + 1) * SECTOR)
  const start = setup.length + header.getUint32(PAYLOAD_OFFSET, true)
  const end = start + header.getUint32(PAYLOAD_LENGTH, true) - 4
  if (end <= start || end + 4 > bzImage.length) throw new KernelFileError('it is truncated')

  const { entry, segments } = readProgram(await unpackXz(bzImage.subarray(start, end)))
  const jump = jumpTo(entry)
  const top = Math.max(...segments.map(({ physicalAddress, content }) => physicalAddress + content.length))
  const lowest = Math.min(...segments.map(({ physicalAddress }) => physicalAddress))
  if (lowest < LOAD_ADDRESS + jump.length || top > MAX_ADDRESS) {
    throw new KernelFileError(`its addresses are unsupported: 0x${lowest.toString(16)} to 0x${top.toString(16)}`)
  }
  const paragraphs = (top - LOAD_ADDRESS + 15) >> 4
  const image = new Uint8Array(setup.length + 16 * paragraphs)
  image.set(setup)
  new DataView(image.buffer).setUint32(SYSSIZE, paragraphs, true)
  image.set(jump, setup.length)
  for (const { physicalAddress, content } of segments) {
    image.set(content, setup.length + physicalAddress - LOAD_ADDRESS)
  }
  return image
}

/** Encodes `mov eax, entry; jmp eax`. ESI keeps the value of the set-up code. */
function jumpTo(entry: number): Uint8Array {
  return Uint8Array.of(0xb8, entry, entry >>> 8, entry >>> 16, entry >>> 24, 0xff, 0xe0)
}
