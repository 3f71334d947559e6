import { ffiMissing } from '../../ffi.ts'
import { uringRefused } from '../create-reactor.ts'
import type { ReactorKind } from '../reactor.ts'

/** The kinds of reactor, each with why it cannot be tested here: what a test skips for. */
export const KINDS: readonly { readonly kind: ReactorKind; readonly skip: string | false }[] = [
  { kind: 'io_uring', skip: ffiMissing() ?? uringRefused() ?? false },
  { kind: 'epoll', skip: ffiMissing() ?? false },
]
