import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { unpackedPackages } from '../../src/guest-image/debian/unpacked-packages.ts'
import { setInterpreter } from './interpreter.ts'

/** Program or header that tests need, with its Debian package. */
interface Tool {
  readonly package: string
  /** Name by which an installed one is found. */
  readonly program: string
  /** Path in the package. @default one of `FOLDERS` */
  readonly file?: string
}

/** Tools for tests without a guest. */
export const SMALL_TOOLS: readonly Tool[] = [
  { package: 'cpio', program: 'cpio' },
  { package: 'edid-decode', program: 'edid-decode' },
  { package: 'iproute2', program: 'ip' },
  { package: 'passt', program: 'passt' },
]

/** Additional tools for tests with a guest or a browser. */
export const TOOLS: readonly Tool[] = [
  ...SMALL_TOOLS,
  { package: 'chromium', program: 'chromium', file: 'usr/lib/chromium/chromium' },
  { package: 'e2fsprogs', program: 'debugfs' },
  { package: 'e2fsprogs', program: 'e2fsck' },
  { package: 'e2fsprogs', program: 'mke2fs' },
  { package: 'systemd', program: 'systemd-analyze' },
  { package: 'systemd', program: 'systemd-socket-activate' },
]

const HEADERS = { package: 'linux-libc-dev', folder: 'usr/include' }
const LIBRARIES = 'usr/lib/x86_64-linux-gnu'
const LOADER = `${LIBRARIES}/ld-linux-x86-64.so.2`
const FOLDERS = ['usr/bin', 'usr/sbin']
/** Folders of programs that start other programs of the same package. */
const PROGRAMS = [...FOLDERS, 'usr/lib/chromium']
/** Increment with each change of `finish` or `setInterpreter`. */
const FINISH_VERSION = 1
/** Folders that may be missing from a user's PATH. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']

/**
 * Makes the programs and headers available to the tests that this process starts, through `PATH` and `CPATH`: those of
 * this machine, and for what it lacks those of Debian's packages, unpacked in the cache.
 */
export async function prepareTools(tools: readonly Tool[], onStep: (step: string) => void): Promise<void> {
  append('PATH', SYSTEM_FOLDERS)
  if (process.arch !== 'x64') return
  const missing = tools.filter(({ program }) => !isHere(program))
  const headersMissing = tools === TOOLS && !existsSync('/usr/include/linux/input-event-codes.h')
  const packages = new Set(missing.map((tool) => tool.package))
  if (headersMissing) packages.add(HEADERS.package)
  if (packages.size === 0) return
  const { suite } = AMD64_IMAGE
  const version = `${FINISH_VERSION} ${JSON.stringify([TOOLS, PROGRAMS, LOADER])}`
  const set = { kind: 'tools', suite, packages: [...packages].sort(), withDependencies: true, finish, version }
  const folder = await unpackedPackages(set, { onProgress: onStep })
  append('PATH', [path.join(folder, 'start')])
  append('CPATH', [path.join(folder, HEADERS.folder)])
}

function isHere(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

function append(variable: string, folders: readonly string[]): void {
  process.env[variable] = [process.env[variable], ...folders].filter(Boolean).join(':')
}

/** Makes the unpacked programs run with the loader and the libraries that they were built for. */
function finish(root: string, later: string): void {
  for (const folder of PROGRAMS.filter((name) => existsSync(path.join(root, name)))) {
    for (const entry of readdirSync(path.join(root, folder), { withFileTypes: true })) {
      if (entry.isFile()) setInterpreter(path.join(root, folder, entry.name), path.join(later, LOADER))
    }
  }
  const fonts = `<fontconfig><dir>${later}/usr/share/fonts</dir><cachedir>${later}/fonts</cachedir></fontconfig>\n`
  writeFileSync(path.join(root, 'fonts.conf'), fonts)
  // Some packages have private libraries in a folder there.
  const folders = readdirSync(path.join(root, LIBRARIES), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  )
  const libraries = ['', ...folders.map(({ name }) => name)].map((name) => path.join(later, LIBRARIES, name)).join(':')
  mkdirSync(path.join(root, 'start'))
  for (const { program, file } of TOOLS) {
    const found = [...(file ? [file] : []), ...FOLDERS.map((folder) => `${folder}/${program}`)].find((name) =>
      existsSync(path.join(root, name)),
    )
    if (found === undefined) continue
    const start = path.join(root, 'start', program)
    const environment = `LD_LIBRARY_PATH='${libraries}' FONTCONFIG_FILE='${later}/fonts.conf'`
    writeFileSync(start, `#!/bin/sh\n${environment} exec '${path.join(later, found)}' "$@"\n`)
    chmodSync(start, 0o755)
  }
}
