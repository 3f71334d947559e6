import { getSystemErrorName } from 'node:util'

/** Node has the other name of this number, which Linux's manual does not use. */
const EOPNOTSUPP = 95

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
    errno: number,
    readonly purpose: string,
  ) {
    const code = errno === EOPNOTSUPP ? 'EOPNOTSUPP' : getSystemErrorName(-errno)
    super(`${purpose}: ${call} failed with ${code}`)
    this.code = code
  }
}
