/** Sends the parts as one message, without putting them together first. */
export type Send = (...parts: readonly (Uint8Array | string)[]) => void

/**
 * One stream of messages to a tab, with at most one that the tab has not acknowledged. What changes in between is not queued
 * but looked up when the tab is ready again. A slow tab neither grows a queue nor delays others.
 */
export abstract class TabStream {
  #state: 'idle' | 'preparing' | 'in flight' | 'closed' = 'idle'
  #wanted = false

  /** Sends what is newest; resolves with false where there was nothing to send. Never rejects. */
  protected abstract sendNewest(): Promise<boolean>

  /** There is something to send: it goes now, or when the tab is ready. */
  schedule(): void {
    this.#wanted = true
    this.#next()
  }

  /** The tab is ready for the next. @returns false where nothing was waiting for it */
  acknowledge(): boolean {
    if (this.#state !== 'in flight') return false
    this.#state = 'idle'
    this.#next()
    return true
  }

  /** Nothing more is sent once what is being prepared now is. */
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
