import { createRequire } from 'node:module'

/** A function of the C library that returns -1 and sets errno where it fails. */
export type CFunction = (...values: readonly (number | ArrayBufferView | null)[]) => number

interface Ffi {
  readonly koffi: typeof import('koffi')
  readonly library: ReturnType<typeof import('koffi').load>
}

/** Found out at first use, so that a program that needs no system calls loads nothing. */
let loaded: Ffi | { readonly missing: string } | undefined

/** Why there are no system calls here, in words for people; undefined where there are. */
export function ffiMissing(): string | undefined {
  const ffi = attempt()
  return 'missing' in ffi ? ffi.missing : undefined
}

/**
 * A function of the C library. The only file that knows how it is called: all else has typed functions of the same names.
 * @param declaration as in C: `int flock(int fd, int operation)`
 * @throws {Error} where `ffiMissing`
 */
export function cFunction(declaration: string): CFunction {
  return need().library.func(declaration)
}

/** Why the last C function failed. To be read at once. */
export function errno(): number {
  const ffi = attempt()
  return 'missing' in ffi ? 0 : ffi.koffi.errno()
}

/** Where an array's bytes lie. They stay there as long as the array is reachable. */
export function addressOf(array: ArrayBufferView): number {
  return Number(need().koffi.address(array))
}

/**
 * Memory at an address as a buffer, without a copy.
 *
 * The mapping is not checked: an access after it was unmapped ends the process. Each buffer counts as garbage to
 * come with its whole length: made once a mapping, not once a use. One of more than 4 GiB ends the process too.
 */
export function memoryAt(address: number, length: number): ArrayBuffer {
  return need().koffi.view(BigInt(address), length)
}

/** Address of this thread's event loop, libuv's `uv_loop_t`. */
export function eventLoopAddress(): number {
  const { koffi, library } = need()
  const loop = [0]
  const status = library.func('int napi_get_uv_event_loop(void *env, _Out_ intptr_t *loop)')(koffi.node.env, loop)
  if (status !== 0) throw new Error(`Node does not give out its event loop: status ${status}`)
  return loop[0]
}

/** Has this thread's event loop call `ready` while a descriptor is readable, and stay alive for it until closed. */
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
    // Declarations here use 64-bit file offsets under the plain names, which a 32-bit C library has for others.
    if (koffi.sizeof('long') !== 8) return { missing: 'this is a 32-bit system' }
    return { koffi, library: koffi.load(null) }
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { missing: `koffi does not load: ${reason}` }
  }
}
