import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { Apt } from './apt.ts'
import { cacheFolder } from './cache-folder.ts'
import { withRemedy } from './explained.ts'
import { withLock } from './lock.ts'

/** Time after which entries of other versions of this project are removed, unless they were made again. */
const KEEP_OTHERS_MS = 7 * 24 * 3600 * 1000

/** Folder `KIND-ID` of the cache. The id depends on the version of this project. */
export interface CacheEntry {
  readonly kind: string
  readonly id: string
}

export interface MakeOptions {
  readonly signal: AbortSignal | undefined
  /** Called if another process makes an entry. */
  readonly onWait: () => void
  /** True if the entry exists and is complete. */
  readonly isComplete: () => boolean
  /** Makes the content in a temporary folder, which is removed afterwards. @returns the folder to keep, below `work` */
  readonly make: (work: string) => Promise<string>
}

export function cacheEntryPath({ kind, id }: CacheEntry): string {
  return path.join(cacheFolder(), `${kind}-${id}`)
}

/**
 * Makes an entry, unless it is complete. The entry appears when it is complete; a failure leaves only packages that
 * need not be downloaded again. One process at a time makes entries.
 * @throws {AptError} if packages cannot be fetched, unpacked or stored
 */
export async function makeCacheEntry(folder: CacheEntry, options: MakeOptions): Promise<void> {
  const { signal, onWait, isComplete } = options
  try {
    await withLock(cacheFolder(), signal, onWait, async () => {
      if (!isComplete()) await makeInCache(folder, options)
    })
  } catch (error) {
    throw await withRemedy(error)
  }
}

async function makeInCache(folder: CacheEntry, { signal, make }: MakeOptions): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true, mode: 0o700 })
  // Evaluated again: another user could have created the folder first.
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

/** Opens apt for one release and architecture, with its state in the cache. */
export async function openApt(
  suite: string,
  architecture: string,
  signal: AbortSignal | undefined,
  mirror?: string,
): Promise<Apt> {
  const folder = path.join(cacheFolder(), 'apt', `${suite}-${architecture}`)
  return await Apt.open(folder, { suite, architecture, mirror, signal })
}

/** Removes remains of interrupted processes, old entries of the same kind, and their packages. */
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
