import type { Closable, Reactor } from '../../../host/linux/reactor/reactor.ts'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import type { CursorPicture, Display, PreferredModes, Rect, Surface } from '../../../services/display.ts'
import { FrontEndScanout } from './front-end-scanout.ts'
import { GpuChannel } from './gpu-channel.ts'
import { PixelPieces } from './pixel-pieces.ts'

/** Timeout of a request for preferred modes, for which the guest waits. */
const TIMEOUT_MS = 1000
/** Maximum number of messages a turn, so that the device is served in between. */
const MAX_A_TURN = 32

/** Request of the driver that waits for the front-end's preferred modes. */
interface ModesRequest {
  readonly answer: (modes: PreferredModes) => void
  readonly timeout: Closable
}

/**
 * Display at a vhost-user-gpu front-end: QEMU's window, its VNC server, its screen dumps.
 *
 *     const display = new FrontEndDisplay(reactor, log)
 *     const device = new GpuDevice(display)
 *     serveVhostUser(device, socket, reactor, { log, extension: gpuExtension(display) })
 *
 * Damage is recorded, and sent at the end of the turn if the front-end has room. A slow front-end receives the newest
 * pixels when it is ready: the device does not wait for it, and no queue grows.
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
  /** True if there may be messages to send. */
  #hasUpdates = false
  /** Scanout that is sent first next time, so that none starves. */
  #next = 0
  /** Preferred modes that the front-end sent last. */
  #modes: PreferredModes
  #request: ModesRequest | undefined
  /** True if the missing front-end was logged. */
  #missingLogged = false

  /** @param modes preferred modes until a front-end sends its own */
  constructor(
    reactor: Pick<Reactor, 'watch' | 'timer' | 'onTurn'>,
    modes: PreferredModes,
    log: (line: string) => void,
  ) {
    this.#reactor = reactor
    this.#modes = modes
    this.#log = log
  }

  /** Takes ownership of the front-end's socket, in place of the earlier one. */
  connect(stream: UnixStream): void {
    this.#closeChannel()
    this.#channel = new GpuChannel(stream, this.#reactor, (reason) => {
      if (reason !== undefined) this.#log(`the front-end's display socket closed: ${reason}`)
      this.#closeChannel()
    })
    this.#pieces = new PixelPieces()
    this.merged = 0
    this.#hook = this.#reactor.onTurn(() => this.#turn())
    for (const scanout of this.#scanouts) scanout.resend()
    this.#hasUpdates = true
  }

  /** Closes the socket: the connection ended. */
  disconnect(): void {
    this.#closeChannel()
    this.#missingLogged = false
  }

  scanout(index: number, surface: Surface | undefined): void {
    if (surface && !this.#channel && !this.#missingLogged) {
      this.#missingLogged = true
      this.#log('no display: the front-end sent no GPU_SET_SOCKET, which QEMU sends for vhost-user-gpu-pci')
    }
    this.#at(index).show(surface)
    this.#hasUpdates = true
  }

  damage(index: number, rect: Rect): void {
    if (this.#at(index).addDamage(rect)) this.merged++
    this.#hasUpdates = true
  }

  cursor(index: number, cursor: CursorPicture | undefined): void {
    this.#at(index).setCursor(cursor)
    this.#hasUpdates = true
  }

  moveCursor(index: number, x: number, y: number): void {
    this.#at(index).moveCursor(x, y)
    this.#hasUpdates = true
  }

  /** Requests the front-end's preferred modes. After `TIMEOUT_MS`, `answer` receives the previous ones. */
  preferredModes(answer: (modes: PreferredModes) => void): void {
    if (!this.#channel) {
      answer(this.#modes)
      return
    }
    this.#request?.timeout.close()
    const timeout = this.#reactor.timer(TIMEOUT_MS, () => {
      this.#log('the front-end did not send its preferred modes in time: the guest receives the previous ones')
      this.#answer()
    })
    const request = { answer, timeout }
    this.#request = request
    this.#channel.askDisplays((displays) => {
      this.#modes = displays
      if (this.#request === request) this.#answer()
    })
  }

  #answer(): void {
    const request = this.#request
    this.#request = undefined
    request?.timeout.close()
    request?.answer(this.#modes)
  }

  #closeChannel(): void {
    const channel = this.#channel
    if (!channel) return
    this.#channel = undefined
    this.#hook?.close()
    channel.close()
    const { bytes, copied } = this.#pieces
    const { stalls } = channel
    this.#log(
      `front-end display closed: ${bytes} bytes of pixels sent, ${copied} of them copied first; ` +
        `the socket was full ${stalls} times, and ${this.merged} damage reports were merged`,
    )
    this.#answer()
  }

  /** Called before each sleep. @returns true if there is more to send at once */
  #turn(): boolean {
    if (!this.#hasUpdates) return false
    for (let messages = 0; messages < MAX_A_TURN; messages++) {
      const channel = this.#channel
      // A busy channel continues in the turn in which the front-end has room.
      if (!channel || channel.busy) return false
      if (!this.#sendNext(channel)) {
        this.#hasUpdates = false
        return false
      }
    }
    return true
  }

  #sendNext(channel: GpuChannel): boolean {
    const { length } = this.#scanouts
    for (let i = 0; i < length; i++) {
      const index = (this.#next + i) % length
      if (!this.#scanouts[index].sendNext(channel, this.#pieces)) continue
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
