import { KernelFileError } from './kernel-file-error.ts'

/** Loadable part of a program. */
interface Segment {
  readonly physicalAddress: number
  /** Content in the file. The rest up to the size in memory is zero. */
  readonly content: Uint8Array
}

export interface Program {
  readonly entry: number
  readonly segments: readonly Segment[]
}

// Little-endian 32-bit ELF: header, then tables of program headers and section headers
//
//   header   0 magic  4 class  5 data  24 e_entry  28 e_phoff  32 e_shoff  42 e_phentsize  44 e_phnum
//            46 e_shentsize  48 e_shnum  50 e_shstrndx
//   program  0 p_type  4 p_offset  8 p_vaddr  12 p_paddr  16 p_filesz  20 p_memsz
//   section  0 sh_name  4 sh_type  12 sh_addr  16 sh_offset  20 sh_size
//
// and 64-bit, only the fields that are read; fields of 8 bytes are marked
//
//   header   40 e_shoff (8)  60 e_shnum  62 e_shstrndx
//   section  0 sh_name  24 sh_offset (8)  32 sh_size (8)
//
const PROGRAM_HEADER_SIZE = 32
const PT_LOAD = 1
const CLASS_64 = 2

/** Offsets of fields about sections. Of 8-byte offsets only the low half is read: no file here is larger than 4 GiB. */
const SECTIONS_32 = { table: 32, count: 48, names: 50, entrySize: 40, offset: 16, size: 20 }
const SECTIONS_64 = { table: 40, count: 60, names: 62, entrySize: 64, offset: 24, size: 32 }

/** Reads the loadable segments of a 32-bit x86 program. */
export function readProgram(file: Uint8Array): Program {
  const view = open(file)
  if (file[4] === CLASS_64) throw new KernelFileError('it is not a 32-bit ELF file')
  const table = view.getUint32(28, true)
  const segments = Array.from({ length: view.getUint16(44, true) }, (_, i) => table + i * PROGRAM_HEADER_SIZE)
    .filter((at) => at + PROGRAM_HEADER_SIZE <= file.length && view.getUint32(at, true) === PT_LOAD)
    .map((at) => ({
      physicalAddress: view.getUint32(at + 12, true),
      content: slice(file, view.getUint32(at + 4, true), view.getUint32(at + 16, true)),
    }))
  if (segments.length === 0) throw new KernelFileError('it has no loadable segment')
  return { entry: view.getUint32(24, true), segments }
}

/** Returns the bytes of a named section; undefined if there is none. */
export function readSection(file: Uint8Array, name: string): Uint8Array | undefined {
  const view = open(file)
  const place = file[4] === CLASS_64 ? SECTIONS_64 : SECTIONS_32
  const table = view.getUint32(place.table, true)
  const count = view.getUint16(place.count, true)
  if (table + count * place.entrySize > file.length) throw new KernelFileError('its section table lies beyond its end')
  const section = (index: number): Uint8Array => {
    const at = table + index * place.entrySize
    return slice(file, view.getUint32(at + place.offset, true), view.getUint32(at + place.size, true))
  }
  const namesIndex = view.getUint16(place.names, true)
  if (namesIndex >= count) return undefined
  const names = new TextDecoder('latin1').decode(section(namesIndex))
  for (let i = 0; i < count; i++) {
    const start = view.getUint32(table + i * place.entrySize, true)
    if (names.startsWith(`${name}\0`, start)) return section(i)
  }
  return undefined
}

function open(file: Uint8Array): DataView {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const isElf = file.length >= 52 && view.getUint32(0) === 0x7f454c46 && file[5] === 1
  const isKnown = isElf && (file[4] === 1 || (file[4] === CLASS_64 && file.length >= 64))
  if (!isKnown) throw new KernelFileError('it is not a little-endian ELF file')
  return view
}

function slice(file: Uint8Array, offset: number, size: number): Uint8Array {
  if (offset + size > file.length) throw new KernelFileError('it is truncated')
  return file.subarray(offset, offset + size)
}
