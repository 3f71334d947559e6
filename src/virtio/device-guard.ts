import { Pending } from '../pending/pending.ts'

/** Calls a device for its transport, off the hot path: what the device throws is its mistake, and stays with it. */
export class DeviceGuard {
  /**
   * @param device its name
   * @param failed told what went wrong, in words for people
   */
  constructor(
    private readonly device: string,
    private readonly print: (line: string) => void,
    private readonly failed: (reason: string) => void,
  ) {}

  /** @returns what the call does, or undefined where it throws */
  call<T>(what: string, call: () => T): T | undefined {
    try {
      return call()
    } catch (error) {
      this.mistake(what, error)
      return undefined
    }
  }

  /** Calls what may have to be waited for. A promise is a mistake: what waits for it would go on too late. */
  wait(what: string, call: () => void | Pending): void | Pending {
    const wait = this.call(what, call)
    if (wait === undefined || wait instanceof Pending) return wait
    this.mistake(what, new TypeError('it returned something other than a Pending'))
  }

  mistake(what: string, error: unknown): void {
    this.failed(`${what} failed: ${error instanceof Error ? error.message : String(error)}`)
  }

  log(line: string): void {
    this.print(`${this.device}: ${line}`)
  }
}
