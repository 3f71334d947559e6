import { errnoName } from '../../host/linux/system-call-error.ts'
import { MessageError } from '../../wire/payload.ts'

/** A command that is refused, and why. Whatever came with it is closed, and nothing else is changed. */
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
