import { lstatSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { AptError } from './apt-error.ts'

/**
 * Returns the cache folder, which is shared by all runs of this user: below XDG_CACHE_HOME, or else the home folder, or
 * else TMPDIR. It need not exist.
 *
 * @throws {AptError} if there is no usable folder
 * @see https://specifications.freedesktop.org/basedir-spec: relative paths must be ignored
 */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME = '', TMPDIR = '' } = process.env
  if (path.isAbsolute(XDG_CACHE_HOME)) return path.join(XDG_CACHE_HOME, 'outboard')
  const home = homeFolder()
  if (path.isAbsolute(home)) return path.join(home, '.cache', 'outboard')
  if (path.isAbsolute(TMPDIR)) return privateFolder(path.join(TMPDIR, `outboard-${process.getuid?.()}`))
  throw new AptError(
    'this user has no home folder',
    'set HOME, XDG_CACHE_HOME or TMPDIR to a folder that this user can write to',
  )
}

/** Returns the home folder; empty for a user without HOME and without an entry in passwd. */
function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return ''
  }
}

/**
 * Checks a folder below one that other users can write to, under a predictable name.
 * @throws {AptError} if it belongs to another user or another user can write to it: its content is executed
 */
function privateFolder(folder: string): string {
  if (isPrivate(folder)) return folder
  throw new AptError(
    `${folder} is not a folder that only this user can write to`,
    'remove it, or set XDG_CACHE_HOME to another folder',
  )
}

/** True if only this user can write to the folder, or it does not exist. */
function isPrivate(folder: string): boolean {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false })
    return !found || (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0)
  } catch {
    return false
  }
}
