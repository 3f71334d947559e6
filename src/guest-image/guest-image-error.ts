/** The guest image cannot be made. The message is one line with the reason and a remedy. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError'

  constructor(what: string, remedy: string) {
    super(`cannot prepare the guest image: ${what}; ${remedy}, or boot your own kernel with --kernel and --initrd`)
  }
}
