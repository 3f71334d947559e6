import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type CacheEntry, cacheEntryPath, makeCacheEntry, openApt } from './cache-entry.ts'
import { runTool } from './tool.ts'

/** File that is written last. */
const STAMP = 'complete'

/** Debian packages that are unpacked together into one folder of the cache. */
export interface PackageSet {
  /** Start of the folder's name. */
  readonly kind: string
  /** Debian release: `trixie`, `sid` ... */
  readonly suite: string
  readonly packages: readonly string[]
  /** True to unpack all dependencies too, so that the programs can be run. */
  readonly withDependencies: boolean
  /**
   * Changes the unpacked files before they are used.
   * @param root current folder of the files
   * @param later final folder of the files
   */
  readonly finish?: (root: string, later: string) => void
  /** Version of `finish`: another version results in another folder. */
  readonly version?: string
}

export interface UnpackOptions {
  /** Debian mirror to fetch from. @default the one of apt */
  readonly mirror?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** @param part completed part of the step, 0 to 1, if known */
  readonly onProgress?: (step: string, part?: number) => void
}

/**
 * Returns the folder with the packages for amd64. The first call fetches and unpacks them; nothing is installed, and no
 * root is needed.
 * @throws {AptError} if they cannot be fetched or unpacked; the signal's reason if aborted
 */
export async function unpackedPackages(
  set: PackageSet,
  { mirror, signal, onProgress = () => {} }: UnpackOptions = {},
): Promise<string> {
  const content = JSON.stringify([set.suite, set.packages, set.withDependencies, set.version])
  const kept: CacheEntry = {
    kind: set.kind,
    id: createHash('sha256').update(content).digest('hex').slice(0, 12),
  }
  const folder = cacheEntryPath(kept)
  const isComplete = (): boolean => existsSync(path.join(folder, STAMP))
  if (isComplete()) return folder
  await makeCacheEntry(kept, {
    signal,
    onWait: () => onProgress('waiting for another process that prepares Debian packages'),
    isComplete,
    async make(work) {
      const root = await unpack(set, path.join(work, 'root'), { mirror, signal }, onProgress)
      set.finish?.(root, folder)
      await writeFile(path.join(root, STAMP), '')
      return root
    },
  })
  return folder
}

async function unpack(
  { kind, suite, packages, withDependencies }: PackageSet,
  root: string,
  { mirror, signal }: UnpackOptions,
  report: (step: string, part?: number) => void,
): Promise<string> {
  const apt = await openApt(suite, 'amd64', signal, mirror)
  await apt.update((part) => report('reading the list of Debian packages', part))
  const names = withDependencies ? await apt.withDependencies(packages) : packages
  const files = await apt.fetch(names, (part) => report(`downloading ${kind}`, part))
  report(`unpacking ${kind}`)
  for (const file of files.values()) {
    await runTool('dpkg-deb', ['-x', file, root], { signal })
    await rm(file)
  }
  return root
}
