/**
 * Error about what the operator asked for: an option, a file, an interface. The message is one line that says what is wrong with
 * what, and what to change.
 */
export class UsageError extends Error {
  override readonly name: string = 'UsageError'
  readonly isUsageError = true
}

/** True for the errors of every copy of this module: bundles and plug-ins have their own. */
export function isUsageError(error: unknown): error is UsageError {
  return error instanceof Error && 'isUsageError' in error
}
