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

/** 64 KiB: a multiple of every ordinary page size. */
export const PAGE_BYTES = 0x1_0000

const mmap = systemCall<
  [address: number, length: number, protection: number, flags: number, fd: number, offset: number]
>('intptr_t mmap(intptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)')
const munmap = systemCall<[address: number, length: number]>('int munmap(intptr_t address, size_t length)')
const sysconf = systemCall<[name: number]>('int64_t sysconf(int name)')

let page = 0

/** Page size of this system, in bytes. */
export function pageSize(): number {
  page ||= sysconf('reading the page size', SC_PAGESIZE)
  return page
}

/** Range of addresses of this process: whole pages, in bytes. */
export interface Pages {
  readonly address: number
  readonly length: number
}

/**
 * Maps part of a file for reading and writing.
 * @param shared true if writes reach the file and other mappings of it
 */
export function mapFile(purpose: string, fd: number, offset: number, length: number, shared = true): Pages {
  const flags = (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE
  return { address: mmap(purpose, 0, length, PROT_READ | PROT_WRITE, flags, fd, offset), length }
}

/** Reserves addresses for a later mapping. An access before that ends the process. */
export function reserve(purpose: string, length: number): Pages {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
  return { address: mmap(purpose, 0, length, PROT_NONE, flags, -1, 0), length }
}

/** Maps part of a file, shared, at these addresses. Replaces their earlier mapping. */
export function mapFileAt(purpose: string, { address, length }: Pages, fd: number, offset: number): void {
  mmap(purpose, address, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, offset)
}

/** Replaces a mapping with zeroes, which take no memory until they are written. */
export function replaceWithZeroes(purpose: string, { address, length }: Pages): void {
  mmap(purpose, address, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0)
}

/** Unmaps addresses. A later access to them ends the process. */
export function unmap({ address, length }: Pages): void {
  munmap('unmapping', address, length)
}
