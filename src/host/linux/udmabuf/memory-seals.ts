import { Seal } from '../memory-file.ts'
import { FcntlCommand, fcntl } from '../posix.ts'
import { SystemCallError } from '../system-call-error.ts'
import { checkInFiles } from './file-extents.ts'
import type { FileExtent } from './protocol.ts'
import { UdmabufError, UdmabufProblem } from './udmabuf-error.ts'

/** Like `Seal.WRITE`, but existing mappings stay writable. */
const F_SEAL_FUTURE_WRITE = 0x10

/** Owner of memory. Files that are `OURS` are sealed if necessary. */
export const MemoryOwner = { OURS: 'ours', PEER: 'peer' } as const
export type MemoryOwner = (typeof MemoryOwner)[keyof typeof MemoryOwner]

/**
 * Checks that the files of a buffer contain its bytes and are sealed so that they keep them.
 * @param what name of the buffer, for messages
 * @throws {UdmabufError}
 */
export function checkFiles(extents: readonly FileExtent[], what: string, owner: MemoryOwner): void {
  for (const fd of new Set(extents.map((extent) => extent.fd))) checkSeals(fd, what, owner)
  checkInFiles(extents, what)
}

function checkSeals(fd: number, what: string, owner: MemoryOwner): void {
  const seals = sealsOf(fd, what)
  if (seals & (Seal.WRITE | F_SEAL_FUTURE_WRITE)) {
    const sealed = `the memory of ${what} is sealed against writing`
    throw new UdmabufError(UdmabufProblem.WRITE_SEALED, sealed, 'dma-bufs are writable, so share writable memory')
  }
  if (seals & Seal.SHRINK) return
  const open = `the memory of ${what} may be shrunk`
  if (owner !== MemoryOwner.OURS) {
    throw new UdmabufError(UdmabufProblem.NOT_SEALED, open, 'its creator must add F_SEAL_SHRINK (in QEMU: seal=on)')
  }
  try {
    fcntl(`sealing the memory of ${what}`, fd, FcntlCommand.ADD_SEALS, Seal.SHRINK)
  } catch (cause) {
    const remedy = 'create it with MFD_ALLOW_SEALING, and without F_SEAL_SEAL'
    throw new UdmabufError(UdmabufProblem.NOT_SEALED, `${open}, and accepts no seal`, remedy, { cause })
  }
}

function sealsOf(fd: number, what: string): number {
  try {
    return fcntl(`reading the seals of ${what}`, fd, FcntlCommand.GET_SEALS, 0)
  } catch (cause) {
    if (!(cause instanceof SystemCallError)) throw cause
    const reason = cause.code === 'EBADF' ? 'a file that is closed' : 'not a memory file'
    const remedy = 'share a memfd: with QEMU, memory-backend-memfd'
    throw new UdmabufError(UdmabufProblem.NOT_MEMORY_FILE, `the memory of ${what} is ${reason}`, remedy, { cause })
  }
}
