import { UsageError } from '../../services/usage-error.ts'

/** A disk image that cannot be used. */
export class DiskError extends UsageError {
  override readonly name = 'DiskError'
}
