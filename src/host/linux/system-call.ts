import { type CFunction, cFunction, errno } from './ffi.ts'
import { SystemCallError } from './system-call-error.ts'

const EINTR = 4

/**
 * A system call by its C declaration, looked up when first called.
 *
 *     const flock = systemCall<[fd: number, operation: number]>('int flock(int fd, int operation)')
 *     flock('locking disk.img', fd, LOCK_EX | LOCK_NB)
 *
 * The function returns what the call does, begins again where a signal came between, and throws `SystemCallError`.
 */
export function systemCall<Values extends readonly (number | ArrayBufferView)[]>(
  declaration: string,
): (purpose: string, ...values: Values) => number {
  const name = /(\w+)\(/.exec(declaration)?.[1] ?? declaration
  let call: CFunction | undefined
  return (purpose, ...values) => {
    call ??= cFunction(declaration)
    for (;;) {
      const result = call(...values)
      if (result >= 0) return result
      const reason = errno()
      if (reason !== EINTR) throw new SystemCallError(name, reason, purpose)
    }
  }
}
