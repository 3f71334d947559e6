import { decodeFrame, type PageMessage, type ServerMessage, type SocketFrame } from '../console/protocol.ts'
import { Backoff } from './backoff.ts'
import { TypedText } from './typed-text.ts'

/** `refused`: the server runs, but this address has expired. */
export type ConnectionState = 'connecting' | 'open' | 'lost' | 'refused'

/** Sends on the connection that a message came from. Does nothing after that connection ended. */
export type Answer = (message: PageMessage) => void

export interface ConnectionEvents {
  state(state: ConnectionState, why: string): void
  frame(frame: SocketFrame, answer: Answer): void
  message(message: ServerMessage, answer: Answer): void
}

/** Duration of a connection after which the delays start anew. */
const STABLE_MS = 5000
/** Time-out of the request that tells a refusal from a lost connection. */
const PROBE_TIMEOUT_MS = 2000

/** WebSocket to the server. Reconnects with growing delays, and at once when the page becomes visible. */
export class Connection {
  readonly #backoff = new Backoff(Math.random)
  #socket: WebSocket | undefined
  /** Terminal input of the current connection; the rest of a lost connection's input is dropped. */
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
    // Input before the connection is open is dropped.
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
      if (performance.now() - openedAt > STABLE_MS) this.#backoff.reset()
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

/** True if the server refuses this address. A refused handshake looks like an absent server, so a request is made. */
async function isRefused(): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    return (await fetch('.', { method: 'HEAD', cache: 'no-store', signal })).status === 403
  } catch {
    return false
  }
}
