import { statx } from '../../../host/linux/posix.ts'

const AT_EMPTY_PATH = 0x1000
const STATX_DIOALIGN = 0x2000
// struct statx, u32 indices                                                                    statx(2)
const STX_MASK = 0
const STX_DIO_MEM_ALIGN = 38
const STX_DIO_OFFSET_ALIGN = 39
const STATX_WORDS = 64
/** Alignment that every disk accepts, for kernels that do not report it (before Linux 6.1). */
const USUAL_BYTES = 4096

/** Alignment that direct I/O on a file requires, in bytes. */
export interface DirectAlignment {
  /** Alignment of offsets in the file and of lengths. */
  readonly offset: number
  /** Alignment of memory addresses. */
  readonly memory: number
}

/** Returns the alignment for direct I/O on an open file; undefined if the file does not support it. */
export function directAlignment(purpose: string, fd: number): DirectAlignment | undefined {
  const result = new Uint32Array(STATX_WORDS)
  statx(purpose, fd, new Uint8Array(1), AT_EMPTY_PATH, STATX_DIOALIGN, result)
  if ((result[STX_MASK] & STATX_DIOALIGN) === 0) return { offset: USUAL_BYTES, memory: USUAL_BYTES }
  const offset = result[STX_DIO_OFFSET_ALIGN]
  return offset === 0 ? undefined : { offset, memory: result[STX_DIO_MEM_ALIGN] }
}
