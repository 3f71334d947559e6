/** Debian packages cannot be fetched, unpacked or kept; one line that says why and what to do. */
export class AptError extends Error {
  override readonly name = 'AptError'

  constructor(
    readonly what: string,
    readonly remedy: string,
  ) {
    super(`${what}; ${remedy}`)
  }
}
