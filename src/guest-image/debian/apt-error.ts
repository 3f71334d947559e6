/** Debian packages cannot be fetched, unpacked or stored. The message is one line with the reason and a remedy. */
export class AptError extends Error {
  override readonly name = 'AptError'

  constructor(
    readonly what: string,
    readonly remedy: string,
  ) {
    super(`${what}; ${remedy}`)
  }
}
