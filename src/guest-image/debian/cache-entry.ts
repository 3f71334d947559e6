import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { Apt } from './apt.ts'
import { cacheFolder } from './cache-folder.ts'
import { explained } from './explained.ts'
import { withLock } from './lock.ts'

/** After this long without being made again, what another version of this project made is thrown away. */
const KEEP_OTHERS_MS = 7 * 24 * 3600 * 1000

/** A folder of the cache: `KIND-ID`. Another id, of another version of this project, is another folder. */
export interface CacheEntry {
  readonly kind: string
  readonly id: string
}

export interface MakeOptions {
  readonly signal: AbortSignal | undefined
  /** Another process makes something here. */
  readonly onWait: () => void
  /** Whether it is there and complete. */
  readonly isComplete: () => boolean
  /** Makes its content, in a work folder that is thrown away afterwards. @returns the folder to keep, in `work` */
  readonly make: (work: string) => Promise<string>
}

export function cacheEntryPath({ kind, id }: CacheEntry): string {
  return path.join(cacheFolder(), `${kind}-${id}`)
}

/**
 * Makes a folder that is not there yet. It appears when it is complete; an end before that leaves nothing but packages
 * that need not be fetched again. No other process makes one at the same time.
 * @throws {AptError} when packages cannot be fetched, unpacked or kept
 */
export async function makeCacheEntry(folder: CacheEntry, options: MakeOptions): Promise<void> {
  const { signal, onWait, isComplete } = options
  try {
    await withLock(cacheFolder(), signal, onWait, async () => {
      if (!isComplete()) await makeInCache(folder, options)
    })
  } catch (error) {
    throw await explained(error)
  }
}

async function makeInCache(folder: CacheEntry, { signal, make }: MakeOptions): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true, mode: 0o700 })
  // Looked at again, since another user could have made it first.
  const cache = cacheFolder()
  await removeOld(cache, folder.kind)
  const work = await mkdtemp(path.join(cache, 'work-'))
  try {
    const made = await make(work)
    signal?.throwIfAborted()
    await rm(cacheEntryPath(folder), { recursive: true, force: true })
    await rename(made, cacheEntryPath(folder))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Packages of one release, for one architecture, with a state of apt of their own in the cache. */
export async function openApt(
  suite: string,
  architecture: string,
  signal: AbortSignal | undefined,
  mirror?: string,
): Promise<Apt> {
  const folder = path.join(cacheFolder(), 'apt', `${suite}-${architecture}`)
  return await Apt.open(folder, { suite, architecture, mirror, signal })
}

/** Removes what was left of a make that was killed, old folders of the same kind, and packages they were made from. */
async function removeOld(cache: string, kind: string): Promise<void> {
  const before = Date.now() - KEEP_OTHERS_MS
  await removeIn(cache, /^work-/, Number.POSITIVE_INFINITY)
  await removeIn(cache, new RegExp(`^${kind}-`), before)
  for (const archive of await namesIn(path.join(cache, 'apt'))) {
    await removeIn(path.join(cache, 'apt', archive, 'packages'), /\.deb$/, before)
  }
}

async function removeIn(folder: string, pattern: RegExp, changedBefore: number): Promise<void> {
  for (const name of (await namesIn(folder)).filter((entry) => pattern.test(entry))) {
    const item = path.join(folder, name)
    if ((await stat(item)).mtimeMs < changedBefore) await rm(item, { recursive: true, force: true })
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => [])
}
