/**
 * Writes an initial ramdisk: a cpio archive in the "newc" format.
 *
 *     const archive = new CpioWriter()
 *     archive.directory('bin')
 *     archive.file('bin/tool', bytes, 0o755)
 *     archive.symbolicLink('bin/sh', 'tool')
 *     archive.device('dev/null', 0o666, 1, 3)
 *     const bytes = archive.finish()
 *
 * An entry is a header of ASCII hexadecimal, the name with its NUL, and the data, both padded to 4 bytes:
 *
 *     070701 ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
 *     6      13 fields of 8 digits                                                       = 110 bytes
 *
 * Equal input results in equal bytes: all entries belong to root and have time 0.
 */
export class CpioWriter {
  readonly #parts: Uint8Array[] = []
  #size = 0
  /** Inode number of the next entry. Each entry has its own, since entries with the same number would be hard links. */
  #inode = 1

  directory(path: string, permissions = 0o755): void {
    this.#entry(path, S_IFDIR | permissions, EMPTY, 0, 0)
  }

  file(path: string, content: Uint8Array, permissions: number): void {
    this.#entry(path, S_IFREG | permissions, content, 0, 0)
  }

  symbolicLink(path: string, target: string): void {
    this.#entry(path, S_IFLNK | 0o777, new TextEncoder().encode(target), 0, 0)
  }

  device(path: string, permissions: number, major: number, minor: number): void {
    this.#entry(path, S_IFCHR | permissions, EMPTY, major, minor)
  }

  /** Returns the whole archive. Nothing can be added afterwards. */
  finish(): Uint8Array {
    this.#entry('TRAILER!!!', 0, EMPTY, 0, 0)
    const archive = new Uint8Array(this.#size)
    let at = 0
    for (const part of this.#parts) {
      archive.set(part, at)
      at += part.length
    }
    return archive
  }

  #entry(path: string, mode: number, content: Uint8Array, major: number, minor: number): void {
    const name = new TextEncoder().encode(`${path}\0`)
    const fields = [this.#inode++, mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0]
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
    this.#append(new TextEncoder().encode(header), name)
    this.#append(content)
  }

  #append(...parts: readonly Uint8Array[]): void {
    for (const part of parts) {
      this.#parts.push(part)
      this.#size += part.length
    }
    const padding = -this.#size & 3
    if (padding > 0) this.#parts.push(new Uint8Array(padding))
    this.#size += padding
  }
}

const EMPTY = new Uint8Array()
const S_IFCHR = 0o020000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
