/** An absolute address is written with a top byte of 00 or FF: a sign, since code is within 16 MiB of its targets. */
const isSign = (byte: number | undefined): boolean => byte === 0x00 || byte === 0xff

/** CALL rel32 and JMP rel32: an opcode and four bytes of distance. */
const isBranch = (byte: number | undefined): boolean => byte === 0xe8 || byte === 0xe9

/**
 * Bytes that look like opcodes within the four bytes before an opcode make it doubtful that this one is real. Which of
 * the last three bytes did is a bit each (1 = the byte just before); this many are patterns the encoder trusts.
 */
const TRUSTED_PATTERNS = 0b0001_0111
/** The byte of the distance, counted from its top, that the earlier opcode's own distance would end with. */
const SUSPECT_BYTE = [0, 1, 2, 2, 3, 3, 3, 3] as const

/**
 * Undoes, in place, the filter that xz calls "x86" and puts before LZMA2: distances of calls and jumps were made
 * absolute addresses, so that many calls of one function look alike to the compressor.
 */
export function decodeX86Branches(code: Uint8Array): void {
  let doubt = 0
  let previous = -5
  for (let at = 0; at + 5 <= code.length; at++) {
    if (!isBranch(code[at])) continue
    const gap = at - previous
    previous = at
    doubt = gap > 3 ? 0 : (doubt << (gap - 1)) & 7
    const suspect = SUSPECT_BYTE[doubt] ?? 0
    const trusted = doubt === 0 || (((TRUSTED_PATTERNS >> doubt) & 1) === 1 && !isSign(code[at + 4 - suspect]))
    if (!trusted || !isSign(code[at + 4])) {
      doubt = ((doubt << 1) & 7) | 1
      continue
    }
    const distance = relative(readUint32(code, at + 1), at + 5, doubt === 0 ? undefined : 8 * suspect)
    code[at + 1] = distance
    code[at + 2] = distance >>> 8
    code[at + 3] = distance >>> 16
    code[at + 4] = (distance & 0x0100_0000) === 0 ? 0x00 : 0xff
    at += 4
  }
}

/** @param suspect bits above the suspect byte; where that byte would become a sign the encoder flipped all below */
function relative(address: number, next: number, suspect: number | undefined): number {
  for (let value = address; ; ) {
    const distance = (value - next) >>> 0
    if (suspect === undefined || !isSign((distance >>> (24 - suspect)) & 0xff)) return distance
    value = (distance ^ (2 ** (32 - suspect) - 1)) >>> 0
  }
}

function readUint32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
}
