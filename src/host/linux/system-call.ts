import { type CFunction, cFunction, errno } from './ffi.ts'
import { SystemCallError } from './system-call-error.ts'

const EINTR = 4

/**
 * Returns a system call by its C declaration. The function is looked up at the first call.
 *
 *     const flock = systemCall<[fd: number, operation: number]>('int flock(int fd, int operation)')
 *     flock('locking disk.img', fd, LOCK_EX | LOCK_NB)
 *
 * It returns the result of the system call, repeats a call that a signal interrupts, and throws `SystemCallError`.
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
