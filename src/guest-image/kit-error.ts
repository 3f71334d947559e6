/** The guest kit cannot be made; one line that says why and what to do. */
export class KitError extends Error {
  override readonly name = 'KitError'

  constructor(what: string, remedy: string) {
    super(`cannot prepare the guest kit: ${what}; ${remedy}, or boot a kernel of your own with --kernel and --initrd`)
  }
}
