import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { decodeFrame, type PageMessage, type ServerMessage, type SocketFrame } from '../protocol.ts'

/** Page's side of the protocol without a browser: records what arrives, and acknowledges when the test requests it. */
export class PageClient {
  readonly frames: SocketFrame[] = []
  readonly messages: ServerMessage[] = []
  readonly socket: WebSocket
  /** True to acknowledge everything at once, like a fast tab. */
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

  /** Output of the terminal so far. */
  get terminalText(): string {
    const decoder = new TextDecoder()
    return this.frames.map((frame) => (frame.kind === 'terminal' ? decoder.decode(frame.bytes) : '')).join('')
  }

  get screens(): Extract<SocketFrame, { kind: 'screen' }>[] {
    return this.frames.filter((frame) => frame.kind === 'screen')
  }

  /** Waits until a condition holds. Has no time-out: the test has one. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await turn()
  }

  /** Waits until everything that was sent before is processed by both sides. */
  async settle(): Promise<void> {
    this.socket.ping()
    await once(this.socket, 'pong')
    await turn()
  }

  /** Resolves with the code and reason when the server closed the connection. */
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
    if (frame.kind === 'terminal') this.send({ type: 'done', stream: 'terminal' })
  }
}
