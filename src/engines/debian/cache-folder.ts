import { homedir } from 'node:os'
import path from 'node:path'

/**
 * Where what is fetched and made is kept, for all runs of this user.
 * @see https://specifications.freedesktop.org/basedir-spec: a relative path is to be ignored
 */
export function cacheFolder(): string {
  const configured = process.env['XDG_CACHE_HOME'] ?? ''
  return path.join(path.isAbsolute(configured) ? configured : path.join(homedir(), '.cache'), 'outboard')
}
