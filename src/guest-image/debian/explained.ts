import { statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { AptError } from './apt-error.ts'
import { cacheFolder } from './cache-folder.ts'
import { ToolError } from './tool.ts'

/**
 * Returns an error with a remedy for the operator, for a step that fetches, unpacks or stores packages. All steps write
 * to the cache or to the folder of temporary files, and apt reports failed writes as network errors.
 *
 * @returns `error` itself if it is of another kind, such as the reason of an abort
 */
export async function withRemedy(error: unknown): Promise<unknown> {
  if (!(error instanceof AptError || error instanceof ToolError || isFileError(error))) return error
  const { message } = error
  if (/no space left on device|disk quota exceeded|EDQUOT/i.test(message)) return await diskFull()
  if (/file too large|SIGXFSZ/i.test(message)) {
    return new AptError(`a file in ${cacheFolder()} reached the limit of this process`, 'raise it: ulimit -f unlimited')
  }
  // On a read-only file system, Node's recursive mkdir fails with ENOENT.
  if (/permission denied|not permitted|not a directory|read-only file system|, mkdir '/i.test(message)) {
    return new AptError(
      `cannot write to ${cacheFolder()}: ${message}`,
      'change its permissions, or set XDG_CACHE_HOME to a folder that this user can write to',
    )
  }
  if (error instanceof AptError) return error
  if (error instanceof ToolError) return new AptError(message, error.missing ? 'install dpkg' : 'report this as a bug')
  return new AptError(message, `check ${cacheFolder()}`)
}

async function diskFull(): Promise<AptError> {
  const cache = cacheFolder()
  const temporary = tmpdir()
  if ((await roomIn(temporary)) < (await roomIn(cache))) {
    return new AptError(`the disk of ${temporary} is full`, 'free some space there, or set TMPDIR to another folder')
  }
  return new AptError(
    `the disk of ${cache} is full`,
    'free some space there, or set XDG_CACHE_HOME to a folder with 2 GB of room',
  )
}

/** Returns the free bytes for this user. */
async function roomIn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: 0, bsize: 0 }))
  return bavail * bsize
}

function isFileError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error
}
