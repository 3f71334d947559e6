import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Apt } from './debian/apt.ts'
import { AptError } from './debian/apt-error.ts'
import { type CacheEntry, cacheEntryPath, makeCacheEntry, openApt } from './debian/cache-entry.ts'
import { runTool } from './debian/tool.ts'
import { GuestImageError } from './guest-image-error.ts'
import { buildInitramfs } from './initramfs.ts'
import { KernelFileError } from './kernel-file-error.ts'
import { repackKernel } from './kernel-image.ts'
import { type Recipe, recipeId } from './recipe.ts'

export { GuestImageError }

/** Files that a guest boots from. `Firmware`: names of the included firmware files. */
export type GuestImage<Firmware extends string = never> = Readonly<Record<'kernel' | 'initrd' | Firmware, string>> & {
  readonly commandLine: string
}

/** Progress of an image; `total` is 0 if it is unknown. */
interface ImageProgress {
  readonly step: string
  readonly done: number
  readonly total: number
}

interface ImageOptions {
  /** Address of the Debian archive. @default the one of {@link debianSource} */
  readonly mirror?: string | undefined
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: ImageProgress) => void
}

type Report = (step: string, part?: number) => void

/** Start of the name of a kernel package; its release follows. */
const IMAGE = 'linux-image-'
/** File names in the folder of each image. */
const KERNEL = 'kernel'
const INITRD = 'initrd'
/** File that lists the packages of the image, and the size of each file. */
const STAMP = 'image.json'

/** Finds the image of this version, if it is complete. */
export function findGuestImage<Firmware extends string>(recipe: Recipe<Firmware>): GuestImage<Firmware> | undefined {
  try {
    const folder = cacheEntryPath(folderOf(recipe))
    const { sizes } = JSON.parse(readFileSync(path.join(folder, STAMP), 'utf8'))
    const complete = filesOf(recipe).every((file) => statSync(path.join(folder, file)).size === sizes[file])
    return complete ? imageIn(folder, recipe) : undefined
  } catch {
    return undefined
  }
}

/**
 * Returns the image of this version. Makes it first if necessary, from Debian packages that apt fetches and verifies.
 *
 *     const image = await prepareGuestImage(AMD64_IMAGE, { onProgress: ({ step }) => console.log(step) })
 *
 * @throws {GuestImageError} with one line for the operator; the signal's reason if aborted
 */
export async function prepareGuestImage<Firmware extends string>(
  recipe: Recipe<Firmware>,
  { mirror, signal, onProgress }: ImageOptions = {},
): Promise<GuestImage<Firmware>> {
  const found = findGuestImage(recipe)
  if (found) return found
  const report: Report = (step, part) =>
    onProgress?.({ step, done: part === undefined ? 0 : Math.round(1000 * part), total: part === undefined ? 0 : 1000 })
  try {
    await makeCacheEntry(folderOf(recipe), {
      signal,
      onWait: () => report('waiting for another process that prepares a guest image'),
      isComplete: () => findGuestImage(recipe) !== undefined,
      make: (work) => makeImage(recipe, work, { mirror, signal }, report),
    })
    return imageIn(cacheEntryPath(folderOf(recipe)), recipe)
  } catch (error) {
    if (error instanceof AptError) throw new GuestImageError(error.what, error.remedy)
    if (error instanceof KernelFileError)
      throw new GuestImageError(`a file of Debian’s kernel: ${error.message}`, 'report this as a bug')
    throw error
  }
}

async function makeImage(
  recipe: Recipe,
  work: string,
  { mirror, signal }: { readonly mirror: string | undefined; readonly signal: AbortSignal | undefined },
  report: Report,
): Promise<string> {
  report('reading the list of Debian packages')
  const apt = await openApt(recipe.suite, recipe.architecture, signal, mirror)
  await apt.update((part) => report('reading the list of Debian packages', part))
  const kernelPackages = await findKernel(apt, recipe.kernelMetaPackage)
  const packages = await apt.fetch([...kernelPackages, ...Object.keys(recipe.packages)], (part) =>
    report('downloading Debian packages', part),
  )
  const root = path.join(work, 'root')
  const unpacked = [...packages.values()]
  for (const [i, file] of unpacked.entries()) {
    report('unpacking', i / unpacked.length)
    await runTool('dpkg-deb', ['-x', file, root], { signal })
  }
  report('building kernel and initial ramdisk')
  const release = releaseOf(kernelPackages[0])
  const image = path.join(work, 'image')
  await mkdir(image)
  const write = (file: string, content: Uint8Array): Promise<void> => writeFile(path.join(image, file), content)
  const kernel = await readKernel(root, [`boot/vmlinuz-${release}`, `${recipe.modulesFolder}/${release}/vmlinuz`])
  await write(KERNEL, recipe.repacksKernel ? await repackKernel(kernel) : kernel)
  signal?.throwIfAborted()
  await write(INITRD, await buildInitramfs(recipe, root, release))
  for (const file of Object.values(recipe.firmware)) {
    await write(path.basename(file), await readFile(path.join(root, file)))
  }
  await writeStamp(recipe, image, unpacked)
  return image
}

/**
 * Returns the kernel packages that a metapackage depends on. Newer releases have the kernel's binary and its modules in
 * separate packages, which the image package depends on, and whose names contain the kernel's release too.
 */
async function findKernel(apt: Apt, metaPackage: string): Promise<[image: string, ...parts: string[]]> {
  const image = (await apt.dependenciesOf(metaPackage)).find((name) => name.startsWith(IMAGE))
  if (image === undefined)
    throw new GuestImageError(`the package ${metaPackage} does not depend on ${IMAGE}…`, 'report this as a bug')
  const parts = (await apt.dependenciesOf(image)).filter((name) => name.endsWith(`-${releaseOf(image)}`))
  return [image, ...parts]
}

/** Reads the kernel. @param places possible paths: newer releases store it with the modules */
async function readKernel(root: string, places: readonly string[]): Promise<Uint8Array> {
  const files = places.map((place) => path.join(root, place))
  return await readFile(files.find((file) => existsSync(file)) ?? files[0])
}

function releaseOf(image: string): string {
  return image.slice(IMAGE.length)
}

async function writeStamp(recipe: Recipe, folder: string, packages: readonly string[]): Promise<void> {
  const sizes: Record<string, number> = {}
  for (const file of filesOf(recipe)) sizes[file] = (await stat(path.join(folder, file))).size
  const stamp = { packages: packages.map((file) => path.basename(file)), sizes }
  await writeFile(path.join(folder, STAMP), `${JSON.stringify(stamp, undefined, 2)}\n`)
}

function folderOf(recipe: Recipe): CacheEntry {
  return { kind: 'guest-image', id: recipeId(recipe) }
}

function filesOf(recipe: Recipe): string[] {
  return [KERNEL, INITRD, ...Object.values(recipe.firmware).map((file) => path.basename(file))]
}

function imageIn<Firmware extends string>(folder: string, recipe: Recipe<Firmware>): GuestImage<Firmware> {
  const firmware: Record<string, string> = {}
  for (const [name, file] of Object.entries<string>(recipe.firmware)) {
    firmware[name] = path.join(folder, path.basename(file))
  }
  return {
    ...(firmware as Record<Firmware, string>),
    kernel: path.join(folder, KERNEL),
    initrd: path.join(folder, INITRD),
    commandLine: recipe.commandLine,
  }
}
