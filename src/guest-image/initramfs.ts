import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { COMMAND_AGENT_SCRIPT } from './command-agent.ts'
import { CpioWriter } from './cpio.ts'
import { HOTPLUG_SCRIPT } from './hotplug-script.ts'
import { INIT_SCRIPT } from './init-script.ts'
import { KernelFileError } from './kernel-file-error.ts'
import {
  aliasTable,
  dependencyTable,
  type ModuleInfo,
  moduleName,
  readModuleInfo,
  withDependencies,
  withoutSignature,
} from './kernel-modules.ts'
import { DHCP_SCRIPT } from './network-script.ts'
import type { Recipe } from './recipe.ts'
import { reseedProgram } from './reseed-program.ts'
import { unpackXz } from './xz.ts'

const FOLDERS = ['bin', 'sbin', 'etc', 'lib', 'lib/modules', 'usr', 'usr/bin', 'usr/sbin']
const MOUNT_POINTS = ['dev', 'proc', 'sys', 'tmp', 'mnt', 'root']

const SETTINGS = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  'etc/group': 'root:x:0:\n',
  'etc/hosts': '127.0.0.1 localhost outboard\n',
  'etc/fstab': 'proc /proc proc\nsys /sys sysfs\ndev /dev devtmpfs\ntmp /tmp tmpfs\n',
  /** File systems for mount to try if none is given; the kernel loads the driver. */
  'etc/filesystems': 'ext4\n*\n',
}

/**
 * Returns the guest's root file system, as an archive that the kernel unpacks.
 *
 * It is not compressed: an emulated guest would need a second to unpack it.
 * @param root folder of the unpacked packages
 * @param release kernel release, as in `uname -r`
 */
export async function buildInitramfs(recipe: Recipe, root: string, release: string): Promise<Uint8Array> {
  const archive = new CpioWriter()
  const files = Object.values(recipe.packages).flatMap((places) => Object.entries(places))
  const folders = new Set([...FOLDERS, ...MOUNT_POINTS, ...files.map(([, to]) => path.dirname(to))])
  for (const folder of folders) archive.directory(folder)
  // Devices that are needed before the kernel's devtmpfs is mounted.
  archive.device('dev/console', 0o600, 5, 1)
  archive.device('dev/null', 0o666, 1, 3)
  archive.device('dev/ttyS0', 0o600, 4, 64)

  for (const [from, to] of files) archive.file(to, await readFile(path.join(root, from)), 0o755)
  archive.symbolicLink('bin/sh', 'busybox')
  archive.file('init', encode(INIT_SCRIPT), 0o755)
  archive.file('sbin/command-agent', encode(COMMAND_AGENT_SCRIPT), 0o755)
  archive.file('sbin/hotplug', encode(HOTPLUG_SCRIPT), 0o755)
  archive.file('sbin/reseed', reseedProgram(), 0o755)
  archive.file('sbin/dhcp-lease', encode(DHCP_SCRIPT), 0o755)
  for (const [file, text] of Object.entries(SETTINGS)) archive.file(file, encode(text), 0o644)

  const folder = `lib/modules/${release}`
  const modules = await collectModules(recipe.modules, path.join(root, recipe.modulesFolder, release))
  archive.directory(folder)
  for (const { info, content } of modules) archive.file(`${folder}/${info.name}.ko`, content, 0o644)
  const infos = modules.map(({ info }) => info)
  archive.file(`${folder}/modules.dep`, encode(dependencyTable(infos)), 0o644)
  archive.file(`${folder}/modules.alias`, encode(aliasTable(infos)), 0o644)
  return archive.finish()
}

interface Module {
  readonly info: ModuleInfo
  readonly content: Uint8Array
}

async function collectModules(names: readonly string[], folder: string): Promise<Module[]> {
  const files = await readdir(folder, { recursive: true })
  const fileOf = new Map(files.filter((file) => /\.ko(\.xz)?$/.test(file)).map((file) => [moduleName(file), file]))
  const builtIn = await builtInModules(folder)
  const needed = names.filter((name) => !builtIn.has(name))
  const read = new Map<string, Module>()
  for (const wanted: string[] = [...needed]; wanted.length > 0; ) {
    const name = wanted.pop() ?? ''
    const file = fileOf.get(name)
    if (read.has(name) || file === undefined) continue
    try {
      const stored = await readFile(path.join(folder, file))
      const content = file.endsWith('.xz') ? await unpackXz(stored) : stored
      const info = readModuleInfo(name, content)
      read.set(name, { info, content: withoutSignature(content) })
      wanted.push(...info.dependencies)
    } catch (error) {
      if (error instanceof KernelFileError) throw new KernelFileError(`module ${name}: ${error.message}`)
      throw error
    }
  }
  return withDependencies(needed, (name) => read.get(name)?.info).flatMap(({ name }) => read.get(name) ?? [])
}

/** Names of the modules that are a part of the kernel. Its list has a path a line. */
async function builtInModules(folder: string): Promise<Set<string>> {
  const list = await readFile(path.join(folder, 'modules.builtin'), 'utf8')
  return new Set(list.split('\n').map(moduleName))
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
