import { getSystemErrorName } from 'node:util'
import { Errno } from './errno.ts'

/** Thrown if a system call fails. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError'
  /** `EOPNOTSUPP`, `EINVAL` ... */
  readonly code: string

  /**
   * @param call name of the system call
   * @param purpose what the call was for: `locking disk.img`
   */
  constructor(
    readonly call: string,
    readonly errno: number,
    readonly purpose: string,
  ) {
    const code = errnoName(errno)
    super(`${purpose}: ${call} failed with ${code}`)
    this.code = code
  }
}

/** Name of an error number in Linux's manual: `ENOSPC`. */
export function errnoName(errno: number): string {
  // Node returns ENOTSUP for this number, a name that Linux's manual does not use.
  return errno === Errno.EOPNOTSUPP ? 'EOPNOTSUPP' : getSystemErrorName(-errno)
}
