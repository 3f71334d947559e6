import type { MachineFeed } from './machine-feed.ts'
import type { StateMessage } from './protocol.ts'
import { type Send, TabStream } from './tab-stream.ts'

/** Stream of lights, log lines and the end of the guest: the changes that one tab has not received. */
export class StateStream extends TabStream {
  #logPosition = 0

  constructor(
    private readonly feed: MachineFeed,
    private readonly send: Send,
  ) {
    super()
    this.schedule()
  }

  protected override async sendNewest(): Promise<boolean> {
    const { lines, end, skipped } = this.feed.log.read(this.#logPosition)
    this.#logPosition = end
    const message: StateMessage = {
      type: 'state',
      leds: [...this.feed.leds],
      log: lines,
      logSkipped: skipped,
      ...(this.feed.stopped && { stopped: this.feed.stopped }),
    }
    this.send(JSON.stringify(message))
    return true
  }
}
