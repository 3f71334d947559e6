import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'

// ELF header and program header of 64-bit programs, little-endian                                            elf(5)
const MAGIC = 0x464c457f
const CLASS_64 = 2
const E_CLASS = 4
const E_PHOFF = 32
const E_PHENTSIZE = 54
const E_PHNUM = 56
const PT_INTERP = 3
const P_OFFSET = 8
const P_FILESZ = 32
const HEAD_BYTES = 4096

/**
 * Gives a program another loader: that of the release it was built for. The kernel reads the loader's name where the
 * program header says, so the name is appended to the file. Other files than dynamic 64-bit programs stay unchanged.
 */
export function setInterpreter(file: string, loader: string): void {
  const fd = openSync(file, 'r+')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    if (readSync(fd, head, 0, HEAD_BYTES, 0) < 64) return
    if (head.readUInt32LE(0) !== MAGIC || head[E_CLASS] !== CLASS_64) return
    const first = Number(head.readBigUInt64LE(E_PHOFF))
    for (let i = 0; i < head.readUInt16LE(E_PHNUM); i++) {
      const at = first + i * head.readUInt16LE(E_PHENTSIZE)
      if (head.readUInt32LE(at) !== PT_INTERP) continue
      const name = Buffer.from(`${loader}\0`)
      const end = fstatSync(fd).size
      writeSync(fd, name, 0, name.length, end)
      const place = Buffer.alloc(8)
      for (const [field, value] of [
        [P_OFFSET, end],
        [P_FILESZ, name.length],
      ] as const) {
        place.writeBigUInt64LE(BigInt(value))
        writeSync(fd, place, 0, 8, at + field)
      }
    }
  } finally {
    closeSync(fd)
  }
}
