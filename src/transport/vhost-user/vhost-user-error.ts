import { MessageError } from '../../wire/payload.ts'

/** A message that is refused, and why. Whatever came with it is closed, and nothing else is changed. */
export class VhostUserError extends MessageError {
  override readonly name = 'VhostUserError'
}
