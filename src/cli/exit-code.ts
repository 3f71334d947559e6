/** How a command ends, for scripts. With `--exec` any other value is the guest command's own. */
export const ExitCode = {
  OK: 0,
  /** The command line or a file it names is wrong. */
  USAGE: 2,
  /** As timeout(1). */
  TIMEOUT: 124,
  /** The guest or the engine failed, not the command that ran in it. */
  FAILURE: 125,
  /** 128 + signal number, as shells have it. */
  INTERRUPTED: 130,
  TERMINATED: 143,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** The command line, or a file it names, is wrong: one line that says what to change. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
