import { isUsageError } from '../services/usage-error.ts'

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
  /** The reader of standard output is gone: as if ended by SIGPIPE. */
  BROKEN_PIPE: 141,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** @param error of standard output */
export function exitCodeOfLostOutput(error: Error): ExitCode {
  return 'code' in error && error.code === 'EPIPE' ? ExitCode.BROKEN_PIPE : ExitCode.FAILURE
}

export function exitCodeOf(error: unknown): ExitCode {
  return isUsageError(error) ? ExitCode.USAGE : ExitCode.FAILURE
}
