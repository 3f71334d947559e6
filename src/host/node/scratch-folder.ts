import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { errorCode } from './error-code.ts'

/** Longest path of a folder in which a socket can have a name of 20 bytes. @see unix(7) */
const MAX_PATH = 107 - 1 - 20

/**
 * Thrown if no folder for sockets and other short-lived files can be made. The message is one line with cause and
 * remedy.
 */
class ScratchFolderError extends Error {
  override readonly name = 'ScratchFolderError'
}

/**
 * Makes a folder for sockets and other short-lived files, which only this user can enter. The caller removes it.
 * @throws {ScratchFolderError} with advice about TMPDIR
 */
export function makeScratchFolder(purpose: string): string {
  let folder: string
  try {
    folder = mkdtempSync(path.join(tmpdir(), `outboard-${purpose}-`))
  } catch (error) {
    const code = errorCode(error)
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    throw new ScratchFolderError(
      full
        ? `the disk of ${tmpdir()} is full; free some space there, or set TMPDIR to another folder`
        : `cannot make a folder in ${tmpdir()}: ${code}; set TMPDIR to a folder that this user can write to`,
    )
  }
  if (Buffer.byteLength(folder) <= MAX_PATH) return folder
  rmSync(folder, { recursive: true })
  throw new ScratchFolderError(`${tmpdir()} is too long a path for sockets in it; set TMPDIR to a shorter one`)
}
