import { decodeFrame, type PageMessage, type ServerMessage, type SocketFrame } from '../console/protocol.ts'
import { Backoff } from './backoff.ts'
import { TypedText } from './typed-text.ts'

/** `refused`: the server is there, but this address is not valid any more. */
export type ConnectionState = 'connecting' | 'open' | 'lost' | 'refused'

/** Sends to where a message came from, and nowhere once that connection has ended: the next one starts anew. */
export type Answer = (message: PageMessage) => void

export interface ConnectionEvents {
  state(state: ConnectionState, why: string): void
  frame(frame: SocketFrame, answer: Answer): void
  message(message: ServerMessage, answer: Answer): void
}

/** A connection that held so long was a good one: the next try comes soon. */
const GOOD_MS = 5000
const EXPLAIN_MS = 2000

/** The WebSocket to the server, made again whenever it ends: with growing pauses, and at once when the page becomes visible. */
export class Connection {
  readonly #backoff = new Backoff(Math.random)
  #socket: WebSocket | undefined
  /** Of this connection: what one did not take is not for the next. */
  #typed: TypedText | undefined
  #retry: number | undefined

  constructor(private readonly events: ConnectionEvents) {
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible' && this.#retry !== undefined) this.#connect()
    })
    this.#connect()
  }

  send(message: PageMessage): void {
    if (this.#socket) send(this.#socket, JSON.stringify(message))
  }

  sendTerminal(bytes: Uint8Array<ArrayBuffer>): void {
    this.#typed?.write(bytes)
  }

  #connect(): void {
    clearTimeout(this.#retry)
    this.#retry = undefined
    this.events.state('connecting', '')
    const url = new URL('socket', location.href)
    url.protocol = 'ws:'
    const socket = new WebSocket(url)
    socket.binaryType = 'arraybuffer'
    this.#socket = socket
    // Before the connection is open, nothing can be typed.
    this.#typed = undefined
    const typed = new TypedText((bytes) => send(socket, bytes))
    const answer: Answer = (message) => send(socket, JSON.stringify(message))
    let openedAt = Number.POSITIVE_INFINITY
    socket.addEventListener('open', () => {
      openedAt = performance.now()
      this.#typed = typed
      this.events.state('open', '')
    })
    socket.addEventListener('message', ({ data }) => {
      if (data instanceof ArrayBuffer) {
        this.events.frame(decodeFrame(data), answer)
        return
      }
      const message = JSON.parse(data) as ServerMessage
      if (message.type === 'typed') typed.taken(message.bytes)
      else this.events.message(message, answer)
    })
    socket.addEventListener('close', ({ reason }) => {
      if (this.#typed === typed) this.#typed = undefined
      if (performance.now() - openedAt > GOOD_MS) this.#backoff.reset()
      void this.#lost(reason)
    })
  }

  async #lost(why: string): Promise<void> {
    this.events.state('lost', why)
    if (await isRefused()) this.events.state('refused', '')
    else this.#retry = setTimeout(() => this.#connect(), this.#backoff.next())
  }
}

function send(socket: WebSocket, data: string | Uint8Array<ArrayBuffer>): void {
  if (socket.readyState === WebSocket.OPEN) socket.send(data)
}

/** A refused handshake looks like an absent server; an ordinary request tells them apart. */
async function isRefused(): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(EXPLAIN_MS)
    return (await fetch('.', { method: 'HEAD', cache: 'no-store', signal })).status === 403
  } catch {
    return false
  }
}
