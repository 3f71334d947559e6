import { errnoName } from '../../host/linux/system-call-error.ts'
import { MessageError } from '../../wire/payload.ts'

/** Reason why a command is refused. Its descriptors are closed, and it changes nothing. */
export class VfioUserError extends MessageError {
  override readonly name = 'VfioUserError'

  /** @param errno error for the client; one of `Errno` */
  constructor(
    readonly errno: number,
    reason: string,
  ) {
    super(`${reason} (${errnoName(errno)})`)
  }
}
