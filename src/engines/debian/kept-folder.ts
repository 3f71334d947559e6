import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { Apt } from './apt.ts'
import { cacheFolder } from './cache-folder.ts'
import { withLock } from './lock.ts'

/** After this long without being made again, what another version of this project made is thrown away. */
const KEEP_OTHERS_MS = 7 * 24 * 3600 * 1000

/** A folder of the cache: `KIND-ID`. Another id, of another version of this project, is another folder. */
export interface KeptFolder {
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

export function keptFolderPath({ kind, id }: KeptFolder): string {
  return path.join(cacheFolder(), `${kind}-${id}`)
}

/**
 * Makes a folder that is not there yet. It appears when it is complete; an end before that leaves nothing but packages
 * that need not be fetched again. Nobody else makes one at the same time.
 */
export async function makeKeptFolder(folder: KeptFolder, options: MakeOptions): Promise<void> {
  const { signal, onWait, isComplete, make } = options
  const cache = cacheFolder()
  await withLock(cache, signal, onWait, async () => {
    if (isComplete()) return
    await mkdir(cache, { recursive: true })
    await removeOld(cache, folder.kind)
    const work = await mkdtemp(path.join(cache, 'work-'))
    try {
      const made = await make(work)
      signal?.throwIfAborted()
      await rm(keptFolderPath(folder), { recursive: true, force: true })
      await rename(made, keptFolderPath(folder))
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  })
}

/** Packages of one release, for one architecture, with a state of apt of their own in the cache. */
export async function openApt(suite: string, architecture: string, signal: AbortSignal | undefined): Promise<Apt> {
  return await Apt.open(path.join(cacheFolder(), 'apt', `${suite}-${architecture}`), { suite, architecture, signal })
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
