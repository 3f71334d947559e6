import { mkdtempSync, readdirSync, readlinkSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'

/** A new folder for a test file's images, gone when its tests are done. */
export class Scratch {
  readonly #folder: string
  #files = 0

  constructor(parent = tmpdir()) {
    this.#folder = mkdtempSync(join(parent, 'outboard-disk-'))
    after(() => rmSync(this.#folder, { recursive: true }))
  }

  /** A new image with this content. */
  image(content: Uint8Array): string {
    const path = join(this.#folder, `${this.#files++}.img`)
    writeFileSync(path, content)
    return path
  }

  /** The name of a file that is not there. */
  get missing(): string {
    return join(this.#folder, 'missing.img')
  }

  get folder(): string {
    return this.#folder
  }
}

/** This process's descriptor of an open file, for tests that break it. */
export function descriptorOf(path: string): number {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) === path) return Number(name)
    } catch {
      // The descriptor that listed the folder is gone.
    }
  }
  throw new Error(`${path} is not open`)
}

/** Whether a folder is in memory: such a file system punches holes and cannot zero ranges. */
export function isTmpfs(folder: string): boolean {
  try {
    return statfsSync(folder).type === 0x0102_1994
  } catch {
    return false
  }
}
