import { fstatSync, readFileSync } from 'node:fs'

/**
 * Process ids that took an flock(2) lock on the file of a descriptor, living or dead: a lock outlives the process that
 * took it while another one, or the kernel, still holds its open file.
 *
 * Empty if the kernel shows none, as for processes of another container and for some file systems. @see proc_locks(5)
 */
export function lockHolders(fd: number): number[] {
  const { dev, ino } = fstatSync(fd)
  const major = (dev >>> 8) & 0xfff
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00)
  const file = `${hex(major)}:${hex(minor)}:${ino}`
  const holders: number[] = []
  for (const line of lines('/proc/locks')) {
    const [, kind, , , process, lockedFile] = line.split(/ +/)
    if (kind === 'FLOCK' && lockedFile === file && Number(process) > 0) holders.push(Number(process))
  }
  return holders
}

/** Name of a process that is neither dead nor a zombie; undefined if there is none. */
export function livingProcess(id: number): string | undefined {
  const [, name, state] = /^\d+ \((.*)\) (\w)/s.exec(lines(`/proc/${id}/stat`).join('\n')) ?? []
  return state === 'Z' || state === 'X' ? undefined : name
}

function lines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(2, '0')
}
