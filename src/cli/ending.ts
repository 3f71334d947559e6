import { ExitCode, exitCodeOfLostOutput } from './exit-code.ts'

/** How a run ended: the exit code, and a line for people where something went wrong. */
export interface End {
  readonly code: number
  readonly message?: string
}

/**
 * The first thing that ends a run: a signal, the time-out, the guest, or the command it was to execute.
 *
 * A second signal ends the process at once, whatever it is doing.
 */
export class Ending {
  readonly reached: Promise<End>
  /** Aborted together with `reached`, for work that can be given up. */
  readonly signal: AbortSignal
  #finish: (end: End) => void = () => {}
  /** A signal ended it. */
  interrupted = false
  /** A signal or the time-out ended it: no reader of the output is waited for. */
  hurried = false
  readonly #timer: NodeJS.Timeout | undefined
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const code = signal === 'SIGINT' ? ExitCode.INTERRUPTED : ExitCode.TERMINATED
    if (this.interrupted) process.exit(code)
    this.interrupted = true
    this.hurried = true
    this.finish({ code })
  }

  /** Standard output takes no more. */
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

  /** Ends the run; only the first call counts. */
  finish(end: End): void {
    this.#finish(end)
  }

  /** Gives the signals and the timer back; errors of standard output are still taken. */
  release(): void {
    clearTimeout(this.#timer)
    process.off('SIGINT', this.#onSignal).off('SIGTERM', this.#onSignal).off('SIGHUP', this.#onSignal)
  }
}
