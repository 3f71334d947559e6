import { readSection } from './elf.ts'
import { KernelFileError } from './kernel-file-error.ts'

/** Description of a kernel module in its file. */
export interface ModuleInfo {
  /** Name with underscores, as in the kernel. */
  readonly name: string
  /** Names of the modules whose symbols it uses. */
  readonly dependencies: readonly string[]
  /** Patterns by which it is requested: `virtio:d00000010v*`, `fs-ext4`. */
  readonly aliases: readonly string[]
}

/** Returns the name of a module: its file name with underscores instead of dashes. */
export function moduleName(file: string): string {
  return file
    .replace(/^.*\//, '')
    .replace(/\.ko(\.xz)?$/, '')
    .replaceAll('-', '_')
}

/** Reads the section `.modinfo`: strings `key=value`, each terminated by a NUL. */
export function readModuleInfo(name: string, module: Uint8Array): ModuleInfo {
  const section = readSection(module, '.modinfo')
  if (!section) throw new KernelFileError('it has no .modinfo section')
  const entries = new TextDecoder('latin1').decode(section).split('\0')
  const values = (key: string): string[] =>
    entries.filter((entry) => entry.startsWith(`${key}=`)).map((entry) => entry.slice(key.length + 1))
  const dependencies = values('depends').flatMap((list) => list.split(',').filter((item) => item !== ''))
  return { name, dependencies: dependencies.map(moduleName), aliases: values('alias') }
}

/**
 * Returns modules with all their dependencies, each after the modules that it depends on.
 * @param find returns a module; undefined if it does not exist
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
    if (!info) throw new KernelFileError(`no module ${name}, which ${neededBy} needs`)
    for (const dependency of info.dependencies) visit(dependency, name)
    ordered.push(info)
  }
  for (const name of wanted) visit(name, 'the guest')
  return ordered
}

/** Returns `modules.dep`, by which modprobe finds the files to load for a module: the last one in a line first. */
export function dependencyTable(modules: readonly ModuleInfo[]): string {
  const byName = new Map(modules.map((info) => [info.name, info]))
  return modules
    .map((info) => {
      const needed = withDependencies(info.dependencies, (name) => byName.get(name)).reverse()
      return `${info.name}.ko:${needed.map(({ name }) => ` ${name}.ko`).join('')}\n`
    })
    .join('')
}

/** Returns `modules.alias`, by which modprobe finds the driver of a device, and the kernel that of a file system. */
export function aliasTable(modules: readonly ModuleInfo[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join('')
}

// A signed module ends with the signature, 12 bytes whose last 4 are the signature's size (big-endian), and a marker
const SIGNATURE_MARK = '~Module signature appended~\n'
const SIGNATURE_INFO_SIZE = 12

/**
 * Returns a module without its signature. Checking it would be the slowest part of loading a module in an emulated
 * guest, and would add nothing to the verified signature of the package.
 */
export function withoutSignature(module: Uint8Array): Uint8Array {
  const mark = module.length - SIGNATURE_MARK.length
  if (new TextDecoder('latin1').decode(module.subarray(Math.max(mark, 0))) !== SIGNATURE_MARK) return module
  const view = new DataView(module.buffer, module.byteOffset, module.byteLength)
  const end = mark < SIGNATURE_INFO_SIZE ? -1 : mark - SIGNATURE_INFO_SIZE - view.getUint32(mark - 4)
  if (end < 0) throw new KernelFileError('its signature is larger than the module')
  return module.subarray(0, end)
}
