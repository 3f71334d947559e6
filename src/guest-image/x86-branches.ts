/** True for the top byte of an absolute address, which is a sign: code is within 16 MiB of its targets. */
const isSign = (byte: number | undefined): boolean => byte === 0x00 || byte === 0xff

/** True for the opcodes of CALL rel32 and JMP rel32, which are followed by four bytes of distance. */
const isBranch = (byte: number | undefined): boolean => byte === 0xe8 || byte === 0xe9

/**
 * An opcode is doubtful if bytes that look like opcodes are among the four bytes before it. The pattern has a bit for
 * each of the last three bytes (1 = the byte just before). These are the patterns that the encoder trusts.
 */
const TRUSTED_PATTERNS = 0b0001_0111
/** Byte of the distance, counted from its top, at which the distance of the earlier opcode would end. */
const SUSPECT_BYTE = [0, 1, 2, 2, 3, 3, 3, 3] as const

/**
 * Undoes, in place, xz's "x86" filter, which precedes LZMA2: it replaced the distances of calls and jumps by absolute
 * addresses, so that calls of the same function look alike to the compressor.
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

/** @param suspect bits above the suspect byte; if that byte would become a sign, the encoder flipped all lower bits */
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
