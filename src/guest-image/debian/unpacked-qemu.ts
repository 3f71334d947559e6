import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Apt } from './apt.ts'
import { AptError } from './apt-error.ts'
import { type CacheEntry, cacheEntryPath, makeCacheEntry, openApt } from './cache-entry.ts'
import type { Program } from './program.ts'
import { QemuError } from './qemu-error.ts'
import { runTool } from './tool.ts'

/** Debian release with the newest QEMU. It changes over time; an unpacked version is kept. */
const SUITE = 'sid'

/**
 * `qemu-block-extra` has the block drivers by which QEMU's programs reach a vhost-user disk.
 * `qemu-system-modules-opengl` has the D-Bus display, whose window can size a screen without a GPU of the host.
 */
const PACKAGES = ['qemu-system-x86', 'qemu-utils', 'qemu-block-extra', 'qemu-system-modules-opengl']

/** Folders that no program reads. */
const UNUSED = ['doc', 'man', 'locale', 'info', 'bash-completion', 'zsh', 'lintian']

/** File that is written last; it lists the unpacked packages. */
const STAMP = 'packages'

/** Supported host processors: Debian's architecture, the compiler's triplet, and the loader. */
const MACHINES: Readonly<Partial<Record<string, { architecture: string; triplet: string; loader: string }>>> = {
  x64: { architecture: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { architecture: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
}

export interface PrepareOptions {
  /** Address of the Debian archive. @default the one of {@link debianSource} */
  readonly mirror?: string | undefined
  readonly signal?: AbortSignal
  /** @param part completed part of the step, 0 to 1, if known */
  readonly onProgress?: (step: string, part?: number) => void
}

/**
 * Debian's newest QEMU, unpacked in a folder of the cache: not installed, and run with the libraries that it was built
 * for.
 *
 *     const qemu = findUnpackedQemu() ?? (await unpackQemu({ onProgress }))
 *     await runProgram(qemu.program('qemu-img'), ['--version'])
 */
export class UnpackedQemu {
  readonly #folder: string
  readonly #libraries: string
  readonly #loader: string

  constructor(folder: string, triplet: string, loader: string) {
    this.#folder = folder
    this.#libraries = path.join(folder, 'usr/lib', triplet)
    this.#loader = path.join(this.#libraries, loader)
  }

  /** Returns a program of the packages. */
  program(name: string): Program {
    const share = (from: string): string => path.join(this.#folder, 'usr', from)
    // Folders of firmware. Only the system emulator has this option.
    const data = ['share/qemu', 'share/seabios', 'lib/ipxe/qemu'].flatMap((folder) => ['-L', share(folder)])
    return {
      command: this.#loader,
      args: [
        ...['--inhibit-cache', '--library-path', this.#libraries, share(`bin/${name}`)],
        ...(name.startsWith('qemu-system-') ? data : []),
      ],
      env: { QEMU_MODULE_DIR: path.join(this.#libraries, 'qemu') },
    }
  }
}

/** Finds the unpacked QEMU in the cache. */
export function findUnpackedQemu(): UnpackedQemu | undefined {
  const machine = MACHINES[process.arch]
  if (!machine) return undefined
  try {
    const folder = cacheEntryPath(keptFolder())
    return existsSync(path.join(folder, STAMP)) ? new UnpackedQemu(folder, machine.triplet, machine.loader) : undefined
  } catch (error) {
    // There is no cache folder.
    if (error instanceof AptError) return undefined
    throw error
  }
}

/**
 * Fetches QEMU's packages and their dependencies with apt, which verifies them, and unpacks them. Installs nothing and
 * needs no root. A later call reuses the downloads of an aborted one.
 * @throws {QemuError} with one line for the operator; the signal's reason if aborted
 */
export async function unpackQemu({
  mirror,
  signal,
  onProgress = () => {},
}: PrepareOptions = {}): Promise<UnpackedQemu> {
  const machine = MACHINES[process.arch]
  if (!machine) throw new QemuError(`cannot fetch QEMU for ${process.arch}: install it`)
  try {
    await makeCacheEntry(keptFolder(), {
      signal,
      onWait: () => onProgress('waiting for another process that prepares QEMU or a guest image'),
      isComplete: () => findUnpackedQemu() !== undefined,
      make: (work) => unpack(work, () => openApt(SUITE, machine.architecture, signal, mirror), signal, onProgress),
    })
  } catch (error) {
    const remedy = 'or install a QEMU with all devices that `outboard doctor` lists'
    if (error instanceof AptError) throw new QemuError(`cannot prepare QEMU: ${error.what}; ${error.remedy}, ${remedy}`)
    throw error
  }
  return new UnpackedQemu(cacheEntryPath(keptFolder()), machine.triplet, machine.loader)
}

async function unpack(
  work: string,
  open: () => Promise<Apt>,
  signal: AbortSignal | undefined,
  report: (step: string, part?: number) => void,
): Promise<string> {
  report('reading the list of Debian packages')
  const apt = await open()
  await apt.update((part) => report('reading the list of Debian packages', part))
  const names = await apt.withDependencies(PACKAGES)
  const packages = [...(await apt.fetch(names, (part) => report('downloading QEMU', part))).values()]
  const root = path.join(work, 'root')
  for (const [i, file] of packages.entries()) {
    report('unpacking QEMU', i / packages.length)
    await runTool('dpkg-deb', ['-x', file, root], { signal })
  }
  for (const folder of UNUSED) await rm(path.join(root, 'usr/share', folder), { recursive: true, force: true })
  await writeFile(path.join(root, STAMP), packages.map((file) => `${path.basename(file)}\n`).join(''))
  for (const file of packages) await rm(file)
  return root
}

function keptFolder(): CacheEntry {
  const content = JSON.stringify([SUITE, PACKAGES, UNUSED, process.arch])
  return { kind: 'qemu', id: createHash('sha256').update(content).digest('hex').slice(0, 12) }
}
