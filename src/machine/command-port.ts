/** What the command port needs of the console device. */
export interface CommandPortHost {
  /** Sends bytes to the guest. @returns how many were taken */
  send(bytes: Uint8Array): number
  /** Whether output of the command is still on its way out of the guest. */
  outputPending(): boolean
  /** A command ended, and all its output was handed on. */
  executed(status: number): void
}

const NEW_LINE = 0x0a
/** Longest answer of the guest: a status, or `ready`. */
const MAX_ANSWER = 16

/**
 * The host's end of the port through which commands are executed in the guest. The guest's end is the agent in the guest
 * image: it says `ready`, takes a line with a command in base64, and answers with a line that holds the exit status.
 *
 * One command is executed at a time; one sent before the agent is ready waits for it.
 */
export class CommandPort {
  readonly #host: CommandPortHost
  readonly #decoder = new TextDecoder()
  #answer = ''
  /** What the guest has still to take of the command's line. */
  #unsent: Uint8Array | undefined
  #ready = false
  /** The status of a command whose output is still on its way. */
  #status: number | undefined

  constructor(host: CommandPortHost) {
    this.#host = host
  }

  execute(command: string): void {
    this.#unsent = new TextEncoder().encode(`${toBase64(new TextEncoder().encode(command))}\n`)
    this.send()
  }

  /** Goes on sending; to be called when the port has room. */
  send(): void {
    if (!this.#ready || !this.#unsent) return
    const taken = this.#host.send(this.#unsent)
    this.#unsent = taken < this.#unsent.length ? this.#unsent.subarray(taken) : undefined
  }

  /** Bytes of the guest. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== NEW_LINE) {
        // A guest that says more than it may is not understood, and costs no memory.
        if (this.#answer.length < MAX_ANSWER) this.#answer += this.#decoder.decode(Uint8Array.of(byte))
        continue
      }
      const line = this.#answer
      this.#answer = ''
      if (line === 'ready') {
        this.#ready = true
        this.send()
      } else if (/^\d{1,3}$/.test(line)) {
        this.#status = Number(line)
        this.flush()
      }
    }
  }

  /** Tells of the command's end once all its output is out; to be called whenever some of it went. */
  flush(): void {
    if (this.#status === undefined || this.#host.outputPending()) return
    const status = this.#status
    this.#status = undefined
    this.#host.executed(status)
  }
}

function toBase64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}
