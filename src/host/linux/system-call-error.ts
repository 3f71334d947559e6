import { getSystemErrorName } from 'node:util'
import { Errno } from './errno.ts'

/** A system call that failed. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError'
  /** `EOPNOTSUPP`, `EINVAL` ... */
  readonly code: string

  /**
   * @param call its name
   * @param purpose what it was for, in words for people
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

/** What Linux's manual calls an error: `ENOSPC`. */
export function errnoName(errno: number): string {
  // Node has the other name of this number, which Linux's manual does not use.
  return errno === Errno.EOPNOTSUPP ? 'EOPNOTSUPP' : getSystemErrorName(-errno)
}
