import { lstatSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { AptError } from './apt-error.ts'

/**
 * The folder for what is fetched and made, for all runs of this user: below XDG_CACHE_HOME, or else below the user's home folder, or
 * else below TMPDIR. It need not exist.
 *
 * @throws {AptError}
 * @see https://specifications.freedesktop.org/basedir-spec: a relative path is to be ignored
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

/** Empty for a user without HOME and without an entry in passwd. */
function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return ''
  }
}

/**
 * A folder that may lie beside those of other users, under a name that they can guess.
 * @throws {AptError} when it is another user's, or another user can write to it: what is kept in it is executed
 */
function privateFolder(folder: string): string {
  if (isPrivate(folder)) return folder
  throw new AptError(
    `${folder} is no folder that this user alone can write to`,
    'remove it, or set XDG_CACHE_HOME to another folder',
  )
}

/** Whether it is this user's folder, or still to be made. */
function isPrivate(folder: string): boolean {
  try {
    const found = lstatSync(folder, { throwIfNoEntry: false })
    return !found || (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o022) === 0)
  } catch {
    return false
  }
}
