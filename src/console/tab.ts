import type { RawData, WebSocket } from 'ws'
import type { Machine } from '../machine/machine.ts'
import { InputHold } from './input-hold.ts'
import { InspectionStream } from './inspection-stream.ts'
import type { MachineFeed } from './machine-feed.ts'
import { PressedKeys } from './pressed-keys.ts'
import {
  CloseCode,
  type HelloMessage,
  type PageMessage,
  ProtocolError,
  parsePageMessage,
  type TypedMessage,
} from './protocol.ts'
import { ScreenStream } from './screen-stream.ts'
import { StateStream } from './state-stream.ts'
import type { Send } from './tab-stream.ts'
import { TerminalStream } from './terminal-stream.ts'
import { TypedInput } from './typed-input.ts'

/** The tab whose terminal answers queries in the guest's output, the last one typed in: two answers would be one too many. */
export interface TerminalOwner {
  tab: Tab | undefined
}

/** One connected page: what the machine shows goes out in lanes, checked input comes in. */
export class Tab {
  readonly #screens = new Map<number, ScreenStream>()
  readonly #terminal: TerminalStream
  readonly #state: StateStream
  readonly #inspection: InspectionStream
  readonly #held: PressedKeys
  readonly #hold: InputHold
  readonly #typed: TypedInput
  readonly #stopListening: () => void

  constructor(
    private readonly socket: WebSocket,
    private readonly machine: Machine,
    feed: MachineFeed,
    private readonly owner: TerminalOwner,
  ) {
    const send: Send = (...parts) => sendParts(socket, parts)
    // A scanout may show up later: when the guest's driver is there.
    const screen = (scanout: number): ScreenStream => {
      const lane = this.#screens.get(scanout) ?? new ScreenStream(machine, scanout, send)
      this.#screens.set(scanout, lane)
      return lane
    }
    const hello: HelloMessage = { type: 'hello' }
    send(JSON.stringify(hello))
    for (const scanout of machine.scanouts.keys()) screen(scanout)
    this.#terminal = new TerminalStream(feed.terminal, () => this.#ownsTerminal(), send)
    this.#state = new StateStream(feed, send)
    this.#inspection = new InspectionStream(machine, send)
    this.#held = new PressedKeys(machine)
    this.#hold = new InputHold(socket)
    this.#typed = new TypedInput(machine, this.#hold, (bytes) => {
      const message: TypedMessage = { type: 'typed', bytes }
      send(JSON.stringify(message))
    })
    this.#stopListening = feed.listen({
      damage: (scanout, rect) => screen(scanout).damage(rect),
      mode: (scanout) => screen(scanout).redraw(),
      cursor: (scanout) => screen(scanout).cursorChanged(),
      terminal: () => this.#terminal.schedule(),
      state: () => this.#state.schedule(),
    })
    socket.on('message', (data, isBinary) => this.#received(data, isBinary))
    socket.on('close', () => this.#close())
    // What went wrong is followed by `close`; a protocol fault was answered with its code by then.
    socket.on('error', () => {})
  }

  #received(data: RawData, isBinary: boolean): void {
    if (!(data instanceof Buffer) || this.socket.readyState !== this.socket.OPEN) return
    try {
      if (isBinary) this.#type(data)
      else {
        const taken = this.#obey(parsePageMessage(data.toString()))
        if (taken) void this.#hold.until(taken)
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.socket.close(CloseCode.POLICY_VIOLATION, error.message)
      this.#close()
    }
  }

  #ownsTerminal(): boolean {
    this.owner.tab ??= this
    return this.owner.tab === this
  }

  #type(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.owner.tab = this
    // A copy: the bytes lie in a buffer of the socket, and a machine may hand its input on to another thread.
    this.#typed.write(new Uint8Array(bytes))
  }

  /** @returns a promise while the machine is behind with its input */
  #obey(message: PageMessage): void | Promise<void> {
    const { machine } = this
    switch (message.type) {
      case 'key':
        return this.#held.key(message.code, message.pressed)
      case 'button':
        return this.#held.button(message.code, message.pressed)
      case 'pointer':
        this.#screen(message.scanout)
        return machine.pointer(message.scanout, message.x, message.y)
      case 'wheel':
        return machine.wheel(message.vertical, message.horizontal)
      case 'resize':
        this.#screen(message.scanout)
        return machine.resize(message.scanout, message.width, message.height)
      case 'terminalSize':
        return machine.resizeTerminal(message.columns, message.rows)
      case 'drawn':
        expectWaiting(this.#screen(message.scanout).acknowledge())
        break
      case 'done':
        expectWaiting(this.#lane(message.lane).acknowledge())
        break
      case 'inspect':
        this.#inspection.schedule()
        break
    }
  }

  #screen(scanout: number): ScreenStream {
    const screen = this.#screens.get(scanout)
    if (!screen) throw new ProtocolError(`there is no scanout ${scanout}`)
    return screen
  }

  #lane(name: 'terminal' | 'state' | 'inspection'): TerminalStream | StateStream | InspectionStream {
    if (name === 'terminal') return this.#terminal
    return name === 'state' ? this.#state : this.#inspection
  }

  /** Leaves the machine alone, and no key or button down. Safe to call twice. */
  #close(): void {
    this.#stopListening()
    for (const lane of [...this.#screens.values(), this.#terminal, this.#state, this.#inspection]) lane.close()
    this.#hold.close()
    this.#held.releaseAll()
    if (this.owner.tab === this) this.owner.tab = undefined
  }
}

function expectWaiting(wasWaiting: boolean): void {
  if (!wasWaiting) throw new ProtocolError('acknowledges what was not sent')
}

/** The parts become fragments of one message: pixels go out without being copied behind their header. */
function sendParts(socket: WebSocket, parts: readonly (Uint8Array | string)[]): void {
  if (socket.readyState !== socket.OPEN) return
  for (const [index, part] of parts.entries()) socket.send(part, { fin: index === parts.length - 1 })
}
