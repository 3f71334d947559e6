import { createRequire } from 'node:module'
import type { load } from 'koffi'

/** A function of the C library that returns -1 and sets errno where it fails. */
export type CFunction = (...values: readonly (number | ArrayBufferView)[]) => number

interface Ffi {
  readonly library: ReturnType<typeof load>
  readonly errno: () => number
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
  const ffi = attempt()
  if ('missing' in ffi) throw new Error(ffi.missing)
  return ffi.library.func(declaration)
}

/** Why the last C function failed. To be read at once. */
export function errno(): number {
  const ffi = attempt()
  return 'missing' in ffi ? 0 : ffi.errno()
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
    return { library: koffi.load(null), errno: () => koffi.errno() }
  } catch (error) {
    const [reason] = (error instanceof Error ? error.message : String(error)).split('\n')
    return { missing: `koffi does not load: ${reason}` }
  }
}
