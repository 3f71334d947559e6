import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { decodeFrame, type PageMessage, type ServerMessage, type SocketFrame } from '../protocol.ts'

/** The page's half of the protocol without a browser: keeps what arrives, and acknowledges when the test says so. */
export class PageClient {
  readonly frames: SocketFrame[] = []
  readonly messages: ServerMessage[] = []
  readonly socket: WebSocket
  /** Whether to acknowledge whatever comes at once, as a quick tab does. */
  isQuick = false

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.binaryType = 'arraybuffer'
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#received(decodeFrame(data as ArrayBuffer))
      else this.messages.push(JSON.parse(new TextDecoder().decode(data as ArrayBuffer)) as ServerMessage)
    })
  }

  static async connect(pageUrl: string, isQuick = false): Promise<PageClient> {
    const { origin } = new URL(pageUrl)
    const client = new PageClient(new WebSocket(new URL('socket', pageUrl), { origin }))
    client.isQuick = isQuick
    await once(client.socket, 'open')
    return client
  }

  send(message: PageMessage): void {
    this.socket.send(JSON.stringify(message))
  }

  /** What the terminal has shown so far. */
  get terminalText(): string {
    const decoder = new TextDecoder()
    return this.frames.map((frame) => (frame.kind === 'terminal' ? decoder.decode(frame.bytes) : '')).join('')
  }

  get screens(): Extract<SocketFrame, { kind: 'screen' }>[] {
    return this.frames.filter((frame) => frame.kind === 'screen')
  }

  /** Waits until something holds; a test's own time-out ends it where it never does. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await turn()
  }

  /** Waits until everything sent before has been answered, both ways. */
  async settle(): Promise<void> {
    this.socket.ping()
    await once(this.socket, 'pong')
    await turn()
  }

  /** Why the server closed the connection, once it did. */
  async closed(): Promise<{ code: number; reason: string }> {
    const [code, reason] = (await once(this.socket, 'close')) as [number, Buffer]
    return { code, reason: reason.toString() }
  }

  close(): void {
    this.socket.close()
  }

  #received(frame: SocketFrame): void {
    this.frames.push(frame)
    if (!this.isQuick) return
    if (frame.kind === 'screen') this.send({ type: 'drawn', scanout: frame.scanout })
    if (frame.kind === 'terminal') this.send({ type: 'done', lane: 'terminal' })
  }
}
