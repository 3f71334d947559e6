import { readSection } from './elf.ts'
import { KernelFileError } from './kernel-file-error.ts'

/** What a kernel module says about itself. */
export interface ModuleInfo {
  /** Name with underscores, as the kernel has it. */
  readonly name: string
  /** Names of the modules whose symbols it uses. */
  readonly dependencies: readonly string[]
  /** Patterns by which it is asked for: `virtio:d00000010v*`, `fs-ext4`. */
  readonly aliases: readonly string[]
}

/** A module's name is its file's, but for dashes, which the kernel has as underscores. */
export function moduleName(file: string): string {
  return file
    .replace(/^.*\//, '')
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_')
}

/** Reads the section `.modinfo`: strings `key=value`, each ended by a NUL. */
export function readModuleInfo(name: string, module: Uint8Array): ModuleInfo {
  const section = readSection(module, '.modinfo')
  if (!section) throw new KernelFileError('it has no section .modinfo')
  const entries = new TextDecoder('latin1').decode(section).split('\0')
  const values = (key: string): string[] =>
    entries.filter((entry) => entry.startsWith(`${key}=`)).map((entry) => entry.slice(key.length + 1))
  const dependencies = values('depends').flatMap((list) => list.split(',').filter((item) => item !== ''))
  return { name, dependencies: dependencies.map(moduleName), aliases: values('alias') }
}

/**
 * The modules wanted and all they depend on, each after what it depends on.
 * @param find looks a module up; undefined for one that is not there
 */
export function withDependencies(
  wanted: readonly string[],
  find: (name: string) => ModuleInfo | undefined,
): ModuleInfo[] {
  const ordered: ModuleInfo[] = []
  const seen = new Set<string>()
  const visit = (name: string, neededBy: string): void => {
    if (seen.has(name)) return
    seen.add(name)
    const info = find(name)
    if (!info) throw new KernelFileError(`there is no module ${name}, which ${neededBy} needs`)
    for (const dependency of info.dependencies) visit(dependency, name)
    ordered.push(info)
  }
  for (const name of wanted) visit(name, 'the guest')
  return ordered
}

/** `modules.dep`, which tells modprobe what to load for a module: the last named file first. */
export function dependencyTable(modules: readonly ModuleInfo[]): string {
  const byName = new Map(modules.map((info) => [info.name, info]))
  return modules
    .map((info) => {
      const needed = withDependencies(info.dependencies, (name) => byName.get(name)).reverse()
      return `${info.name}.ko:${needed.map(({ name }) => ` ${name}.ko`).join('')}\n`
    })
    .join('')
}

/** `modules.alias`, by which modprobe finds the driver of a device, and the kernel a file system. */
export function aliasTable(modules: readonly ModuleInfo[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join('')
}

// A signed module ends with the signature, 12 bytes of which the last 4 are the signature's size (big-endian), and a mark
const SIGNATURE_MARK = '~Module signature appended~\n'
const SIGNATURE_INFO_SIZE = 12

/**
 * A module without its signature. To check one takes an emulated guest longer than all else in loading it, and says
 * nothing that the signature of the package it came in did not.
 */
export function withoutSignature(module: Uint8Array): Uint8Array {
  const mark = module.length - SIGNATURE_MARK.length
  if (new TextDecoder('latin1').decode(module.subarray(Math.max(mark, 0))) !== SIGNATURE_MARK) return module
  const view = new DataView(module.buffer, module.byteOffset, module.byteLength)
  const end = mark < SIGNATURE_INFO_SIZE ? -1 : mark - SIGNATURE_INFO_SIZE - view.getUint32(mark - 4)
  if (end < 0) throw new KernelFileError('its signature is larger than it')
  return module.subarray(0, end)
}
