import { mkdtempSync, readdirSync, readlinkSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'

/** Folder for the images of a test file, removed after its tests. */
export class Scratch {
  readonly #folder: string
  #files = 0

  constructor(parent = tmpdir()) {
    this.#folder = mkdtempSync(join(parent, 'outboard-disk-'))
    after(() => rmSync(this.#folder, { recursive: true }))
  }

  /** Creates an image with this content. @returns its path */
  image(content: Uint8Array): string {
    const path = join(this.#folder, `${this.#files++}.img`)
    writeFileSync(path, content)
    return path
  }

  /** Path of a file that does not exist. */
  get missing(): string {
    return join(this.#folder, 'missing.img')
  }

  get folder(): string {
    return this.#folder
  }
}

/** Returns this process's descriptor of an open file, for tests that tamper with it. */
export function descriptorOf(path: string): number {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === path) return Number(name)
    } catch {
      // The descriptor that listed the folder is closed.
    }
  }
  throw new Error(`${path} is not open`)
}

/** True if a folder is on tmpfs, which punches holes but cannot zero ranges. */
export function isTmpfs(folder: string): boolean {
  try {
    return statfsSync(folder).type === 0x0102_1994
  } catch {
    return false
  }
}
