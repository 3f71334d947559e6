import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import path from 'node:path'
import { Apt } from './apt.ts'
import { buildInitramfs } from './initramfs.ts'
import { KernelFileError } from './kernel-file-error.ts'
import { repackKernel } from './kernel-image.ts'
import { KitError } from './kit-error.ts'
import { withLock } from './lock.ts'
import { COMMAND_LINE, FIRMWARE, KERNEL_META_PACKAGE, PACKAGES, recipeId, SUITE } from './recipe.ts'
import { runTool, ToolError } from './tool.ts'

export { KitError }

/** The files a guest of this project boots from. */
export interface GuestKit {
  readonly kernel: string
  readonly initrd: string
  readonly bios: string
  readonly vgaBios: string
  readonly commandLine: string
}

/** How far a kit is; `total` is 0 where that cannot be told. */
interface KitProgress {
  readonly step: string
  readonly done: number
  readonly total: number
}

interface KitOptions {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: KitProgress) => void
}

/** Names of the kit's files in its folder. */
const FILES = { kernel: 'kernel', initrd: 'initrd', bios: 'bios.bin', vgaBios: 'vgabios.bin' } as const
/** Says what the kit was made of, and how large each file is. */
const STAMP = 'kit.json'
/** After this long without being made again, a kit of another recipe is thrown away. */
const KEEP_OTHERS_MS = 7 * 24 * 3600 * 1000

/** The kit of this version, if it is there and complete. */
export function findKit(): GuestKit | undefined {
  const folder = kitFolder()
  try {
    const { sizes } = JSON.parse(readFileSync(path.join(folder, STAMP), 'utf8'))
    const complete = Object.values(FILES).every((file) => statSync(path.join(folder, file)).size === sizes[file])
    return complete ? kitIn(folder) : undefined
  } catch {
    return undefined
  }
}

/**
 * The kit of this version; made first where it is not there yet, from Debian packages that apt fetches and checks.
 *
 *     const kit = await prepareKit({ onProgress: ({ step }) => console.log(step) })
 *
 * @throws {KitError} with one line for people; the signal's reason where it is aborted
 */
export async function prepareKit({ signal, onProgress }: KitOptions = {}): Promise<GuestKit> {
  const found = findKit()
  if (found) return found
  const report = (step: string, part?: number): void =>
    onProgress?.({ step, done: part === undefined ? 0 : Math.round(1000 * part), total: part === undefined ? 0 : 1000 })
  const waits = (): void => report('waiting for another process that prepares the guest kit')
  try {
    return await withLock(cacheFolder(), signal, waits, async () => findKit() ?? (await makeKit(signal, report)))
  } catch (error) {
    if (error instanceof ToolError) throw new KitError(error.message, 'install dpkg')
    if (error instanceof KernelFileError) throw new KitError(`a file of Debian’s kernel: ${error.message}`, 'report it')
    throw isFileError(error) ? new KitError(error.message, `check ${cacheFolder()}`) : error
  }
}

async function makeKit(
  signal: AbortSignal | undefined,
  report: (step: string, part?: number) => void,
): Promise<GuestKit> {
  const cache = cacheFolder()
  await mkdir(cache, { recursive: true })
  await removeOld(cache)
  report('reading the list of Debian packages')
  const apt = await Apt.open(path.join(cache, 'apt'), SUITE, signal)
  await apt.update((part) => report('reading the list of Debian packages', part))
  const kernelPackage = await apt.dependencyOf(KERNEL_META_PACKAGE)
  const packages = await apt.fetch([kernelPackage, ...Object.keys(PACKAGES)], (part) =>
    report('downloading Debian packages', part),
  )

  const work = await mkdtemp(path.join(cache, 'work-'))
  try {
    const root = path.join(work, 'root')
    const unpacked = [...packages.values()]
    for (const [i, file] of unpacked.entries()) {
      report('unpacking', i / unpacked.length)
      await runTool('dpkg-deb', ['-x', file, root], { signal })
    }
    report('building kernel and initial ramdisk')
    const release = kernelPackage.replace(/^linux-image-/, '')
    const kit = path.join(work, 'kit')
    await mkdir(kit)
    const write = (file: string, content: Uint8Array): Promise<void> => writeFile(path.join(kit, file), content)
    await write(FILES.kernel, await repackKernel(await readFile(path.join(root, 'boot', `vmlinuz-${release}`))))
    signal?.throwIfAborted()
    await write(FILES.initrd, await buildInitramfs(root, release))
    for (const [name, file] of Object.entries(FIRMWARE)) {
      await write(FILES[name as keyof typeof FIRMWARE], await readFile(path.join(root, file)))
    }
    await writeStamp(kit, unpacked)
    signal?.throwIfAborted()
    const folder = kitFolder()
    await rm(folder, { recursive: true, force: true })
    await rename(kit, folder)
    return kitIn(folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

async function writeStamp(folder: string, packages: readonly string[]): Promise<void> {
  const sizes: Record<string, number> = {}
  for (const file of Object.values(FILES)) sizes[file] = (await stat(path.join(folder, file))).size
  const stamp = { packages: packages.map((file) => path.basename(file)), sizes }
  await writeFile(path.join(folder, STAMP), `${JSON.stringify(stamp, undefined, 2)}\n`)
}

/** Removes what was left of a build that was killed, kits of other recipes, and packages they were made from. */
async function removeOld(cache: string): Promise<void> {
  const before = Date.now() - KEEP_OTHERS_MS
  const old = async (folder: string, pattern: RegExp, limit: number): Promise<void> => {
    if (!existsSync(folder)) return
    for (const name of (await readdir(folder)).filter((entry) => pattern.test(entry))) {
      const item = path.join(folder, name)
      if ((await stat(item)).mtimeMs < limit) await rm(item, { recursive: true, force: true })
    }
  }
  await old(cache, /^work-/, Number.POSITIVE_INFINITY)
  await old(cache, /^kit-/, before)
  await old(path.join(cache, 'apt', 'packages'), /\.deb$/, before)
}

function kitIn(folder: string): GuestKit {
  const file = (name: keyof typeof FILES): string => path.join(folder, FILES[name])
  const { kernel, initrd, bios, vgaBios } = {
    kernel: file('kernel'),
    initrd: file('initrd'),
    bios: file('bios'),
    vgaBios: file('vgaBios'),
  }
  return { kernel, initrd, bios, vgaBios, commandLine: COMMAND_LINE }
}

function kitFolder(): string {
  return path.join(cacheFolder(), `kit-${recipeId()}`)
}

/** @see https://specifications.freedesktop.org/basedir-spec: a relative path is to be ignored */
function cacheFolder(): string {
  const configured = process.env['XDG_CACHE_HOME'] ?? ''
  return path.join(path.isAbsolute(configured) ? configured : path.join(homedir(), '.cache'), 'outboard')
}

function isFileError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error
}
