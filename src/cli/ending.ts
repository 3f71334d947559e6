import { ExitCode, exitCodeOfLostOutput } from './exit-code.ts'

/** End of a run: the exit code, and one line if something failed. */
export interface End {
  readonly code: number
  readonly message?: string
}

/**
 * End of a run by the first of: a signal, the timeout, the guest, the command of `--exec`.
 *
 * A second signal ends the process at once.
 */
export class Ending {
  readonly reached: Promise<End>
  /** Aborted together with `reached`, for work that can be abandoned. */
  readonly signal: AbortSignal
  #finish: (end: End) => void = () => {}
  /** True if a signal ended the run. */
  interrupted = false
  /** True if a signal or the timeout ended the run: there is no wait for a reader of the output. */
  hurried = false
  readonly #timer: NodeJS.Timeout | undefined
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const code = signal === 'SIGINT' ? ExitCode.INTERRUPTED : ExitCode.TERMINATED
    if (this.interrupted) process.exit(code)
    this.interrupted = true
    this.hurried = true
    this.finish({ code })
  }

  /** Handles an error of standard output. */
  readonly #onBrokenPipe = (error: Error): void => this.finish({ code: exitCodeOfLostOutput(error) })

  constructor(timeoutSeconds?: number) {
    const abort = new AbortController()
    this.signal = abort.signal
    this.reached = new Promise((resolve) => {
      this.#finish = (end) => {
        resolve(end)
        abort.abort()
      }
    })
    process.on('SIGINT', this.#onSignal).on('SIGTERM', this.#onSignal).on('SIGHUP', this.#onSignal)
    process.stdout.on('error', this.#onBrokenPipe)
    if (timeoutSeconds !== undefined) {
      const end = { code: ExitCode.TIMEOUT, message: `stopped: the ${timeoutSeconds} s of --timeout are over` }
      this.#timer = setTimeout(() => {
        this.hurried = true
        this.finish(end)
      }, timeoutSeconds * 1000)
    }
  }

  /** Ends the run. Only the first call has an effect. */
  finish(end: End): void {
    this.#finish(end)
  }

  /** Removes the signal handlers and the timer. Errors of standard output are still handled. */
  release(): void {
    clearTimeout(this.#timer)
    process.off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal).off('SIGHUP', this.#onSignal)
  }
}
