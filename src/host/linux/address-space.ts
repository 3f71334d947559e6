import { systemCall } from './system-call.ts'

const PROT_NONE = 0
const PROT_READ = 1
const PROT_WRITE = 2
const MAP_SHARED = 0x01
const MAP_PRIVATE = 0x02
const MAP_FIXED = 0x10
const MAP_ANONYMOUS = 0x20
const MAP_NORESERVE = 0x4000
const SC_PAGESIZE = 30

/** A multiple of every ordinary page size there is. */
export const PAGE_BYTES = 0x1_0000

const mmap = systemCall<
  [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
>('intptr_t mmap(intptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)')
const munmap = systemCall<[address: number, length: number]>('int munmap(intptr_t address, size_t length)')
const sysconf = systemCall<[name: number]>('int64_t sysconf(int name)')

let page = 0

/** This system's pages, in bytes. */
export function pageSize(): number {
  page ||= sysconf('asking for the size of a page', SC_PAGESIZE)
  return page
}

/** A range of this process's addresses, whole pages. */
export interface Pages {
  readonly address: number
  readonly length: number
}

/**
 * Maps part of a file, to be read and written.
 * @param shared whether what is written reaches the file, and others
 */
export function mapFile(purpose: string, fd: number, offset: number, length: number, shared = true): Pages {
  const flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE
  return { address: mmap(purpose, 0, length, PROT_READ | PROT_WRITE, flags, fd, offset), length }
}

/** Takes addresses for something to be mapped at. Until it is, touching them ends the process. */
export function reserve(purpose: string, length: number): Pages {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
  return { address: mmap(purpose, 0, length, PROT_NONE, flags, -1, 0), length }
}

/** Maps part of a file, shared, in place of what was at addresses of this process. */
export function mapFileAt(purpose: string, { address, length }: Pages, fd: number, offset: number): void {
  mmap(purpose, address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, offset)
}

/** Puts zeroes, which take no memory until they are written over, where something else was mapped. */
export function replaceWithZeroes(purpose: string, { address, length }: Pages): void {
  mmap(purpose, address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)
}

/** Gives addresses back. Who touches them from now on ends the process. */
export function unmap({ address, length }: Pages): void {
  munmap('giving back address space', address, length)
}
