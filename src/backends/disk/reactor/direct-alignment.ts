import { statx } from '../../../host/linux/posix.ts'

const AT_EMPTY_PATH = 0x1000
const STATX_DIOALIGN = 0x2000
// struct statx, u32 indices                                                                    statx(2)
const STX_MASK = 0
const STX_DIO_MEM_ALIGN = 38
const STX_DIO_OFFSET_ALIGN = 39
const STATX_WORDS = 64
/** Good for every disk there is, where the kernel does not tell: before Linux 6.1. */
const USUAL_BYTES = 4096

/** What direct I/O on a file asks for, in bytes. */
export interface DirectAlignment {
  /** Of where in the file it begins, and of its lengths. */
  readonly offset: number
  /** Of addresses in memory. */
  readonly memory: number
}

/** What direct I/O on an open file asks for; undefined where the file has none. */
export function directAlignment(purpose: string, fd: number): DirectAlignment | undefined {
  const result = new Uint32Array(STATX_WORDS)
  statx(purpose, fd, new Uint8Array(1), AT_EMPTY_PATH, STATX_DIOALIGN, result)
  if ((result[STX_MASK] & STATX_DIOALIGN) === 0) return { offset: USUAL_BYTES, memory: USUAL_BYTES }
  const offset = result[STX_DIO_OFFSET_ALIGN]
  return offset === 0 ? undefined : { offset, memory: result[STX_DIO_MEM_ALIGN] }
}
