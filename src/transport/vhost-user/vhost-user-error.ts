/** A message that is refused, and why. Whatever came with it is closed, and nothing else is changed. */
export class VhostUserError extends Error {
  override readonly name = 'VhostUserError'
}
