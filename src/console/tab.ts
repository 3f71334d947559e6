import type { RawData, WebSocket } from 'ws'
import type { Machine } from '../machine/machine.ts'
import { MessageError } from '../wire/json-message.ts'
import { InputHold } from './input-hold.ts'
import { InspectionStream } from './inspection-stream.ts'
import type { MachineFeed } from './machine-feed.ts'
import { PressedKeys } from './pressed-keys.ts'
import { CloseCode, type HelloMessage, type PageMessage, parsePageMessage, type TypedMessage } from './protocol.ts'
import { ScreenStream } from './screen-stream.ts'
import { StateStream } from './state-stream.ts'
import type { Send } from './tab-stream.ts'
import { TerminalStream } from './terminal-stream.ts'
import { TypedInput } from './typed-input.ts'

/** Tab whose terminal answers queries in the guest's output: the last one that typed. Only one may answer. */
export interface TerminalOwner {
  tab: Tab | undefined
}

/** One connected page: sends the machine's state as streams, and receives checked input. */
export class Tab {
  readonly #screens = new Map<number, ScreenStream>()
  readonly #terminal: TerminalStream
  readonly #state: StateStream
  readonly #inspection: InspectionStream
  readonly #pressed: PressedKeys
  readonly #hold: InputHold
  readonly #input: TypedInput
  readonly #stopListening: () => void

  constructor(
    private readonly socket: WebSocket,
    private readonly machine: Machine,
    feed: MachineFeed,
    private readonly owner: TerminalOwner,
  ) {
    const send: Send = (...parts) => sendParts(socket, parts)
    // A scanout may appear later, when the guest's driver starts.
    const screen = (scanout: number): ScreenStream => {
      const stream = this.#screens.get(scanout) ?? new ScreenStream(machine, scanout, send)
      this.#screens.set(scanout, stream)
      return stream
    }
    const hello: HelloMessage = { type: 'hello' }
    send(JSON.stringify(hello))
    for (const scanout of machine.scanouts.keys()) screen(scanout)
    this.#terminal = new TerminalStream(feed.terminal, () => this.#ownsTerminal(), send)
    this.#state = new StateStream(feed, send)
    this.#inspection = new InspectionStream(machine, send)
    this.#pressed = new PressedKeys(machine)
    this.#hold = new InputHold(socket)
    this.#input = new TypedInput(machine, this.#hold, (bytes) => {
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
    // Errors are followed by `close`. Protocol errors were already answered with a close code.
    socket.on('error', () => {})
  }

  #received(data: RawData, isBinary: boolean): void {
    if (!(data instanceof Buffer) || this.socket.readyState !== this.socket.OPEN) return
    try {
      if (isBinary) this.#type(data)
      else {
        const ready = this.#handle(parsePageMessage(data.toString()))
        if (ready) void this.#hold.until(ready)
      }
    } catch (error) {
      if (!(error instanceof MessageError)) throw error
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
    // Copied: the bytes lie in a buffer of the socket, and the machine may transfer its input to another thread.
    this.#input.write(new Uint8Array(bytes))
  }

  /** Handles input. @returns a promise while the machine is behind with its input */
  #handle(message: PageMessage): void | Promise<void> {
    switch (message.type) {
      case 'drawn':
        expectWaiting(this.#screen(message.scanout).acknowledge())
        break
      case 'done':
        expectWaiting(this.#stream(message.stream).acknowledge())
        break
      case 'inspect':
        this.#inspection.schedule()
        break
      default:
        if ('scanout' in message && message.scanout !== undefined) this.#screen(message.scanout)
        this.#pressed.follow(message)
        return this.machine.input(message)
    }
  }

  #screen(scanout: number): ScreenStream {
    const screen = this.#screens.get(scanout)
    if (!screen) throw new MessageError(`no scanout ${scanout}`)
    return screen
  }

  #stream(name: 'terminal' | 'state' | 'inspection'): TerminalStream | StateStream | InspectionStream {
    if (name === 'terminal') return this.#terminal
    return name === 'state' ? this.#state : this.#inspection
  }

  /** Stops listening to the machine, and releases keys and buttons. Idempotent. */
  #close(): void {
    this.#stopListening()
    for (const stream of [...this.#screens.values(), this.#terminal, this.#state, this.#inspection]) stream.close()
    this.#hold.close()
    this.#pressed.releaseAll()
    if (this.owner.tab === this) this.owner.tab = undefined
  }
}

function expectWaiting(wasWaiting: boolean): void {
  if (!wasWaiting) throw new MessageError('acknowledges what was not sent')
}

/** Sends the parts as fragments of one message, so that pixels are not copied behind their header. */
function sendParts(socket: WebSocket, parts: readonly (Uint8Array | string)[]): void {
  if (socket.readyState !== socket.OPEN) return
  for (const [index, part] of parts.entries()) socket.send(part, { fin: index === parts.length - 1 })
}
