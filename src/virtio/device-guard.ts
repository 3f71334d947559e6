import { Pending } from '../pending/pending.ts'

/** Calls methods of a device, off the hot path, and reports what they throw as a failure of the device. */
export class DeviceGuard {
  /**
   * @param device name of the device, which begins each log line
   * @param failed called with a readable reason
   */
  constructor(
    private readonly device: string,
    private readonly print: (line: string) => void,
    private readonly failed: (reason: string) => void,
  ) {}

  /** Returns the result of `call`; undefined if it throws. @param what name of the method, for the reason */
  call<T>(what: string, call: () => T): T | undefined {
    try {
      return call()
    } catch (error) {
      this.report(what, error)
      return undefined
    }
  }

  /** Returns the wait that `call` returns. A promise is an error: its listeners would run too late, see `Pending`. */
  wait(what: string, call: () => void | Pending): void | Pending {
    const wait = this.call(what, call)
    if (wait === undefined || wait instanceof Pending) return wait
    this.report(what, new TypeError('it must return undefined or a Pending'))
  }

  report(what: string, error: unknown): void {
    this.failed(`${what} failed: ${error instanceof Error ? error.message : String(error)}`)
  }

  log(line: string): void {
    this.print(`${this.device}: ${line}`)
  }
}
