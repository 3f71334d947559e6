/** The guest image cannot be made; one line that says why and what to do. */
export class GuestImageError extends Error {
  override readonly name = 'GuestImageError'

  constructor(what: string, remedy: string) {
    super(`cannot prepare the guest image: ${what}; ${remedy}, or boot a kernel of your own with --kernel and --initrd`)
  }
}
