import type { Closable, Reactor } from '../../../host/linux/reactor/reactor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import type { CursorPicture, Display, PreferredModes, Rect, Surface } from '../../../services/display.ts'
import { FrontEndScanout } from './front-end-scanout.ts'
import { GpuChannel } from './gpu-channel.ts'
import { PixelPieces } from './pixel-pieces.ts'

/** How long the guest waits for what the front-end would like its screen to be. */
const TIMEOUT_MS = 1000
/** Messages a turn: the device has other things to do. */
const MAX_A_TURN = 32

/** The guest's question, which the front-end has to answer first. */
interface Question {
  readonly told: (wishes: PreferredModes) => void
  readonly patience: Closable
}

/**
 * The screen of a front-end that shows what it is sent: QEMU's window, its VNC server, its screen dumps.
 *
 *     const display = new FrontEndDisplay(reactor, log)
 *     const device = new GpuDevice(display)
 *     serveVhostUser(device, socket, reactor, { log, screen: display })
 *
 * What changed is noted, and sent when the device has done what it is at and the front-end has room for it. One that is
 * slow gets the newest when it is ready again; nothing waits for it, and nothing grows.
 */
export class FrontEndDisplay implements Display {
  /** Changes that were added to others which the front-end had no room for yet. */
  merged = 0
  readonly #reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>
  readonly #log: (line: string) => void
  readonly #scanouts: FrontEndScanout[] = []
  #pieces = new PixelPieces()
  #channel: GpuChannel | undefined
  #hook: Closable | undefined
  /** There may be something to tell. */
  #news = false
  /** Which scanout comes first next time: none has to wait for another for ever. */
  #next = 0
  /** What the front-end said last. */
  #wishes: PreferredModes
  #question: Question | undefined
  #complained = false

  /** @param wishes what is taken for wanted where no front-end says what is */
  constructor(
    reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>,
    wishes: PreferredModes,
    log: (line: string) => void,
  ) {
    this.#reactor = reactor
    this.#wishes = wishes
    this.#log = log
  }

  /** The front-end's socket for pictures, instead of the one before; it is the display's from now on. */
  connect(stream: UnixStream): void {
    this.#leave()
    this.#channel = new GpuChannel(stream, this.#reactor, (reason) => {
      if (reason !== undefined) this.#log(`the front-end's screen is lost: ${reason}`)
      this.#leave()
    })
    this.#pieces = new PixelPieces()
    this.merged = 0
    this.#hook = this.#reactor.onTurn(() => this.#turn())
    for (const scanout of this.#scanouts) scanout.forget()
    this.#news = true
  }

  /** The front-end is gone. */
  disconnect(): void {
    this.#leave()
    this.#complained = false
  }

  scanout(index: number, surface: Surface | undefined): void {
    if (surface && !this.#channel && !this.#complained) {
      this.#complained = true
      this.#log('no display: the front-end sent no GPU_SET_SOCKET, which QEMU sends for vhost-user-gpu-pci')
    }
    this.#at(index).show(surface)
    this.#news = true
  }

  damage(index: number, rect: Rect): void {
    if (this.#at(index).change(rect)) this.merged++
    this.#news = true
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    this.#at(index).pointWith(cursor)
    this.#news = true
  }

  moveCursor(index: number, x: number, y: number): void {
    this.#at(index).pointTo(x, y)
    this.#news = true
  }

  /** @see TIMEOUT_MS */
  preferredModes(told: (wishes: PreferredModes) => void): void {
    if (!this.#channel) {
      told(this.#wishes)
      return
    }
    this.#question?.patience.close()
    const patience = this.#reactor.timer(TIMEOUT_MS, () => {
      this.#log('the front-end does not say what it would like the screen to be: the guest is told what it said before')
      this.#answer()
    })
    const question = { told, patience }
    this.#question = question
    this.#channel.askDisplays((displays) => {
      this.#wishes = displays
      if (this.#question === question) this.#answer()
    })
  }

  #answer(): void {
    const question = this.#question
    this.#question = undefined
    question?.patience.close()
    question?.told(this.#wishes)
  }

  #leave(): void {
    const channel = this.#channel
    if (!channel) return
    this.#channel = undefined
    this.#hook?.close()
    channel.close()
    const { bytes, copied } = this.#pieces
    const { stalls } = channel
    this.#log(
      `the front-end's screen is off: it got ${bytes} bytes of pixels, ${copied} of them copied first; ` +
        `it was full ${stalls} times, and ${this.merged} changes became part of others meanwhile`,
    )
    this.#answer()
  }

  /** Before each sleep. @returns whether there is more to do at once */
  #turn(): boolean {
    if (!this.#news) return false
    for (let messages = 0; messages < MAX_A_TURN; messages++) {
      const channel = this.#channel
      // Busy, it goes on in the turn in which the front-end has room again.
      if (!channel || channel.busy) return false
      if (!this.#tellNext(channel)) {
        this.#news = false
        return false
      }
    }
    return true
  }

  #tellNext(channel: GpuChannel): boolean {
    const { length } = this.#scanouts
    for (let i = 0; i < length; i++) {
      const index = (this.#next + i) % length
      if (!this.#scanouts[index].tell(channel, this.#pieces)) continue
      this.#next = index + 1
      return true
    }
    return false
  }

  #at(index: number): FrontEndScanout {
    while (this.#scanouts.length <= index) this.#scanouts.push(new FrontEndScanout(this.#scanouts.length))
    return this.#scanouts[index]
  }
}
