import { MessageError } from '../../wire/payload.ts'

/** Reason why a message is refused. Its descriptors are closed, and it changes nothing. */
export class VhostUserError extends MessageError {
  override readonly name = 'VhostUserError'
}
