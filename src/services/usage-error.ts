/**
 * Error about what the operator asked for: an option, a file, an interface. The message is one line that says what is wrong with
 * what, and what to change.
 */
export class UsageError extends Error {
  override readonly name: string = 'UsageError'
}
