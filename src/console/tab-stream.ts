/** Sends the parts as one message without concatenating them. */
export type Send = (...parts: readonly (Uint8Array | string)[]) => void

/**
 * One stream of messages to a tab, with at most one that the tab has not acknowledged. Changes are not queued: the
 * newest state is read when the tab is ready again. A slow tab neither grows a queue nor delays others.
 */
export abstract class TabStream {
  #state: 'idle' | 'preparing' | 'in flight' | 'closed' = 'idle'
  #wanted = false

  /** Sends the newest state. @returns false if there was nothing to send. Never rejects */
  protected abstract sendNewest(): Promise<boolean>

  /** Schedules a message: it is sent now, or when the tab is ready. */
  schedule(): void {
    this.#wanted = true
    this.#next()
  }

  /** The tab is ready for the next message. @returns false if none was unacknowledged */
  acknowledge(): boolean {
    if (this.#state !== 'in flight') return false
    this.#state = 'idle'
    this.#next()
    return true
  }

  /** Ends the stream after the message that is being prepared. */
  close(): void {
    this.#state = 'closed'
  }

  #next(): void {
    if (!this.#wanted || this.#state !== 'idle') return
    this.#wanted = false
    this.#state = 'preparing'
    void this.sendNewest().then((sent) => {
      if (this.#state === 'closed') return
      this.#state = sent ? 'in flight' : 'idle'
      this.#next()
    })
  }
}
