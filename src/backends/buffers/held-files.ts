import { fstatSync } from 'node:fs'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { FcntlCommand, fcntl } from '../../host/linux/posix.ts'
import type { FileExtent } from '../../host/linux/udmabuf/protocol.ts'

/** Part of a memory file that may be sent to consumers. */
export interface HeldExtent {
  readonly file: Descriptor
  readonly offset: number
  readonly length: number
}

interface HeldFile {
  readonly descriptor: Descriptor
  readonly key: string
  users: number
}

/** Parts of files that stay open when their owner closes the files. */
export interface HeldExtents {
  readonly extents: readonly HeldExtent[]
  close(): void
}

/** Memory files of buffers. Each file is open once, however many buffers it contains. */
export class HeldFiles {
  readonly #files = new Map<string, HeldFile>()

  /**
   * Holds the files of some extents.
   * @param extents borrowed
   * @throws {SystemCallError}; nothing is held
   */
  hold(extents: readonly FileExtent[]): HeldExtents {
    const byNumber = new Map<number, HeldFile>()
    const close = (): void => {
      for (const file of byNumber.values()) this.#release(file)
      byNumber.clear()
    }
    try {
      const held = extents.map(({ fd, offset, length }) => {
        const file = byNumber.get(fd) ?? this.#open(fd)
        byNumber.set(fd, file)
        return { file: file.descriptor, offset, length }
      })
      return { extents: held, close }
    } catch (error) {
      close()
      throw error
    }
  }

  #open(fd: number): HeldFile {
    const { dev, ino } = fstatSync(fd)
    const key = `${dev}:${ino}`
    let file = this.#files.get(key)
    if (!file) {
      const what = 'memory of buffers'
      file = {
        descriptor: new Descriptor(
          fcntl(`duplicating the descriptor of ${what}`, fd, FcntlCommand.DUPFD_CLOEXEC, 0),
          what,
        ),
        key,
        users: 0,
      }
      this.#files.set(key, file)
    }
    file.users++
    return file
  }

  #release(file: HeldFile): void {
    if (--file.users > 0) return
    this.#files.delete(file.key)
    file.descriptor.close()
  }
}
