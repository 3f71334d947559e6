import type { Closable, Reactor } from '../../../host/linux/reactor/reactor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import type { CursorPicture, Display, PreferredModes, Rect, Surface } from '../../../services/display.ts'
import { FrontEndScanout } from './front-end-scanout.ts'
import { GpuChannel } from './gpu-channel.ts'
import { PixelPieces } from './pixel-pieces.ts'

/** Timeout of a question for preferred modes, for which the guest waits. */
const TIMEOUT_MS = 1000
/** Maximum number of messages a turn, so that the device is served in between. */
const MAX_A_TURN = 32

/** Request of the driver that waits for the front-end's preferred modes. */
interface Question {
  readonly answer: (wishes: PreferredModes) => void
  readonly timeout: Closable
}

/**
 * Display at a vhost-user-gpu front-end: QEMU's window, its VNC server, its screen dumps.
 *
 *     const display = new FrontEndDisplay(reactor, log)
 *     const device = new GpuDevice(display)
 *     serveVhostUser(device, socket, reactor, { log, extension: gpuExtension(display) })
 *
 * Damage is recorded, and sent at the end of the turn if the front-end has room. A slow front-end receives the newest pixels when
 * it is ready: the device does not wait for it, and no queue grows.
 */
export class FrontEndDisplay implements Display {
  /** Number of damage reports that were merged because the front-end had no room. */
  merged = 0
  readonly #reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>
  readonly #log: (line: string) => void
  readonly #scanouts: FrontEndScanout[] = []
  #pieces = new PixelPieces()
  #channel: GpuChannel | undefined
  #hook: Closable | undefined
  /** True if there may be something to send. */
  #news = false
  /** Scanout that is sent first next time, so that none starves. */
  #next = 0
  /** Preferred modes that the front-end sent last. */
  #wishes: PreferredModes
  #question: Question | undefined
  #complained = false

  /** @param wishes preferred modes until a front-end sends its own */
  constructor(
    reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>,
    wishes: PreferredModes,
    log: (line: string) => void,
  ) {
    this.#reactor = reactor
    this.#wishes = wishes
    this.#log = log
  }

  /** Takes ownership of the front-end's socket, in place of the earlier one. */
  connect(stream: UnixStream): void {
    this.#leave()
    this.#channel = new GpuChannel(stream, this.#reactor, (reason) => {
      if (reason !== undefined) this.#log(`the front-end's display socket closed: ${reason}`)
      this.#leave()
    })
    this.#pieces = new PixelPieces()
    this.merged = 0
    this.#hook = this.#reactor.onTurn(() => this.#turn())
    for (const scanout of this.#scanouts) scanout.forget()
    this.#news = true
  }

  /** The connection ended. */
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
  preferredModes(answer: (wishes: PreferredModes) => void): void {
    if (!this.#channel) {
      answer(this.#wishes)
      return
    }
    this.#question?.timeout.close()
    const timeout = this.#reactor.timer(TIMEOUT_MS, () => {
      this.#log('the front-end did not send its preferred modes in time: the guest receives the previous ones')
      this.#answer()
    })
    const question = { answer, timeout }
    this.#question = question
    this.#channel.askDisplays((displays) => {
      this.#wishes = displays
      if (this.#question === question) this.#answer()
    })
  }

  #answer(): void {
    const question = this.#question
    this.#question = undefined
    question?.timeout.close()
    question?.answer(this.#wishes)
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

  /** Called before each sleep. @returns true if there is more to send at once */
  #turn(): boolean {
    if (!this.#news) return false
    for (let messages = 0; messages < MAX_A_TURN; messages++) {
      const channel = this.#channel
      // A busy channel continues in the turn in which the front-end has room.
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
