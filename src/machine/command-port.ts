import type { SavedState } from '../snapshot/saved-state.ts'
import { flag, stateShape } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'

/** Console device as the command port uses it. */
export interface CommandPortHost {
  /** Sends bytes to the guest. @returns number of bytes that were accepted */
  send(bytes: Uint8Array): number
  /** True while output of the command is still in transit from the guest. */
  outputPending(): boolean
  /** Called when a command ended and all its output was delivered. */
  executed(status: number): void
}

const NEW_LINE = 0x0a

const STATE = stateShape('the command port', 1, { ready: flag })
/** Maximum length of an answer of the guest: an exit status, or `ready`. */
const MAX_ANSWER = 16

/**
 * Host's end of the port that executes commands in the guest. The guest's end is the agent in the guest image: it sends
 * `ready`, receives a line with a command in base64, and answers with a line that contains the exit status.
 *
 * One command is executed at a time. A command that is sent before the agent is ready waits for it.
 */
export class CommandPort {
  readonly #host: CommandPortHost
  readonly #decoder = new TextDecoder()
  #answer = ''
  /** Part of the command's line that the guest has not accepted. */
  #unsent: Uint8Array | undefined
  #ready = false
  /** True while a command is executed, until its status was reported. */
  #executing = false
  /** Part of the renewal's line that the guest has not accepted. */
  #renewal: Uint8Array | undefined
  /** True until the renewal ended; other commands wait. */
  #renewing = false
  /** Exit status of a command whose output is still in transit. */
  #status: number | undefined

  constructor(host: CommandPortHost) {
    this.#host = host
  }

  execute(command: string): void {
    this.#executing = true
    this.#unsent = lineOf(command)
    this.send()
  }

  /** @throws {SnapshotError} while a command is executed */
  save(): SavedState {
    if (this.#executing || this.#renewing) {
      throw new SnapshotError('a command is running in the guest: save when it has ended')
    }
    return STATE.write({ ready: this.#ready })
  }

  /**
   * Continues with the agent of a restored guest.
   * @param renewal command that is executed before all others, without output and status
   * @returns false if there was no agent yet
   */
  restore(state: SavedState, renewal: string): boolean {
    const { ready } = STATE.read(state)
    this.#ready = ready
    if (!ready) return false
    this.#renewing = true
    this.#renewal = lineOf(renewal)
    return true
  }

  /** Continues to send. Call when the port has room. */
  send(): void {
    if (!this.#ready) return
    if (this.#renewal) this.#renewal = this.#sendPart(this.#renewal)
    else if (this.#unsent && !this.#renewing) this.#unsent = this.#sendPart(this.#unsent)
  }

  /** @returns the part that the guest did not accept */
  #sendPart(line: Uint8Array): Uint8Array | undefined {
    const taken = this.#host.send(line)
    return taken < line.length ? line.subarray(taken) : undefined
  }

  /** Receives bytes from the guest. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== NEW_LINE) {
        // An answer that is too long is invalid, and must not use memory.
        if (this.#answer.length < MAX_ANSWER) this.#answer += this.#decoder.decode(Uint8Array.of(byte))
        continue
      }
      const line = this.#answer
      this.#answer = ''
      if (line === 'ready') {
        this.#ready = true
        this.send()
      } else if (this.#renewing) {
        this.#renewing = false
        this.send()
      } else if (/^\d{1,3}$/.test(line)) {
        this.#status = Number(line)
        this.flush()
      }
    }
  }

  /** Reports the command's exit status if all its output was delivered. Call after each delivery. */
  flush(): void {
    if (this.#status === undefined || this.#host.outputPending()) return
    const status = this.#status
    this.#status = undefined
    this.#executing = false
    this.#host.executed(status)
  }
}

/** Returns the line of a command. */
function lineOf(command: string): Uint8Array {
  return new TextEncoder().encode(`${toBase64(new TextEncoder().encode(command))}\n`)
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}
