import { UsageError } from '../../services/usage-error.ts'

/** A network port that cannot be opened. */
export class NetworkPortError extends UsageError {
  override readonly name = 'NetworkPortError'
}
