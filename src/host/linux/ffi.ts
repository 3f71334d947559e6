import { createRequire } from 'node:module'

/** Function of the C library that returns -1 and sets errno if it fails. */
export type CFunction = (...values: readonly (number | ArrayBufferView | null)[]) => number

interface Ffi {
  readonly koffi: typeof import('koffi')
  readonly library: ReturnType<typeof import('koffi').load>
}

/** Loaded at first use, so that a program without system calls loads nothing. */
let loaded: Ffi | { readonly missing: string } | undefined

/** Returns why system calls are unavailable on this system, for messages; undefined if they are available. */
export function ffiMissing(): string | undefined {
  const ffi = attempt()
  return 'missing' in ffi ? ffi.missing : undefined
}

/**
 * Looks up a function of the C library. Other files wrap the result in a typed function, usually with `systemCall`.
 * @param declaration as in C: `int flock(int fd, int operation)`
 * @throws {Error} if system calls are unavailable; see `ffiMissing`
 */
export function cFunction(declaration: string): CFunction {
  return need().library.func(declaration)
}

/** Error number of the last C function that failed. Read it before the next call. */
export function errno(): number {
  const ffi = attempt()
  return 'missing' in ffi ? 0 : ffi.koffi.errno()
}

/** Address of an array's bytes, valid while the array is reachable. */
export function addressOf(array: ArrayBufferView): number {
  return Number(need().koffi.address(array))
}

/**
 * Returns the memory at an address as a buffer, without a copy.
 *
 * An access after the memory was unmapped ends the process, and so does a buffer of more than 4 GiB. Create one buffer
 * a mapping, not one a use: the garbage collector counts each with its whole length.
 */
export function memoryAt(address: number, length: number): ArrayBuffer {
  return need().koffi.view(BigInt(address), length)
}

/** Address of this thread's event loop: `uv_loop_t` of libuv. */
export function eventLoopAddress(): number {
  const { koffi, library } = need()
  const loop = [0]
  const status = library.func('int napi_get_uv_event_loop(void *env, _Out_ intptr_t *loop)')(koffi.node.env, loop)
  if (status !== 0) throw new Error(`napi_get_uv_event_loop failed with status ${status}`)
  return loop[0]
}

/**
 * Calls `ready` from this thread's event loop while a descriptor is readable, and keeps the loop alive until closed.
 */
export function pollInEventLoop(fd: number, ready: () => void): { close(): void } {
  return need().koffi.node.poll(fd, { readable: true }, ready)
}

function need(): Ffi {
  const ffi = attempt()
  if ('missing' in ffi) throw new Error(ffi.missing)
  return ffi
}

function attempt(): Ffi | { readonly missing: string } {
  loaded ??= open()
  return loaded
}

function open(): Ffi | { readonly missing: string } {
  if (process.platform !== 'linux') return { missing: `this is ${process.platform}, not Linux` }
  try {
    const koffi: typeof import('koffi') = createRequire(import.meta.url)('koffi')
    // The declarations use 64-bit file offsets with the plain names, which have 32-bit offsets in a 32-bit C library.
    if (koffi.sizeof('long') !== 8) return { missing: 'this is a 32-bit system' }
    return { koffi, library: koffi.load(null) }
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { missing: `koffi does not load: ${reason}` }
  }
}
