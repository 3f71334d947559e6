import { ffiMissing } from '../../ffi.ts'
import { uringRefused } from '../create-reactor.ts'
import type { ReactorKind } from '../reactor.ts'

/** Kinds of reactor, each with the reason to skip its tests on this system. */
export const KINDS: readonly { readonly kind: ReactorKind; readonly skip: string | false }[] = [
  { kind: 'io_uring', skip: ffiMissing() ?? uringRefused() ?? false },
  { kind: 'epoll', skip: ffiMissing() ?? false },
]
