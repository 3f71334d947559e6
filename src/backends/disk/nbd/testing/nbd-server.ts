import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { UnixStream } from '../../../../host/linux/unix-stream.ts'
import {
  greeting,
  HandshakeFlag,
  Info,
  infoBlockSize,
  infoExport,
  Magic,
  NBD_OPT_GO,
  NbdCommand,
  OptionReply,
  optionReply,
  REQUEST_BYTES,
  requestHeader,
  TransmissionFlag,
} from '../protocol.ts'

const { HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_TRIM, SEND_WRITE_ZEROES } = TransmissionFlag
/** Transmission flags of a writable export and of a read-only one. */
export const WRITABLE = HAS_FLAGS | SEND_FLUSH | SEND_TRIM | SEND_WRITE_ZEROES
export const READABLE = HAS_FLAGS | READ_ONLY

/** Received request. */
export interface ReceivedRequest {
  readonly type: number
  readonly flags: number
  readonly cookie: bigint
  readonly offset: number
  readonly length: number
  readonly data: Uint8Array
}

export function openingBytes(): Uint8Array {
  const flags = HandshakeFlag.FIXED_NEWSTYLE
  return greeting.encode({ magic: Magic.GREETING, optionMagic: Magic.OPTION, flags })
}

export function optionReplyBytes(
  type: number,
  payload: Uint8Array = new Uint8Array(0),
  changed: { magic?: bigint } = {},
): Uint8Array {
  const head = { magic: Magic.OPTION_REPLY, option: NBD_OPT_GO, type, length: payload.length, ...changed }
  return Buffer.concat([optionReply.encode(head), payload])
}

export function exportBytes(size: number | bigint, flags = WRITABLE): Uint8Array {
  return optionReplyBytes(OptionReply.INFO, infoExport.encode({ info: Info.EXPORT, size: BigInt(size), flags }))
}

export function blockSizeBytes(minimum: number, preferred: number, maximum: number): Uint8Array {
  return optionReplyBytes(
    OptionReply.INFO,
    infoBlockSize.encode({ info: Info.BLOCK_SIZE, minimum, preferred, maximum }),
  )
}

export function acknowledgement(): Uint8Array {
  return optionReplyBytes(OptionReply.ACK)
}

export function simpleReply(
  cookie: bigint,
  error = 0,
  data: Uint8Array = new Uint8Array(0),
  magic: number = Magic.SIMPLE_REPLY,
): Buffer {
  const head = Buffer.alloc(16)
  head.writeUInt32BE(magic, 0)
  head.writeUInt32BE(error, 4)
  head.writeBigUInt64BE(cookie, 8)
  return Buffer.concat([head, data])
}

/**
 * Server for tests: sends given bytes as its side of the handshake, and calls `onRequest` for each request after it.
 *
 *     const server = await NbdServer.listen([openingBytes(), exportBytes(1 << 20), acknowledgement()])
 *     const stream = server.connect()
 *     server.onRequest = (request) => server.say(simpleReply(request.cookie))
 */
export class NbdServer {
  /** Called for each complete request. */
  onRequest: (request: ReceivedRequest) => void = () => {}
  /** Bytes received before the first request. */
  readonly heard: Promise<number[]>
  readonly #handshake: number[] = []
  #hear: (handshake: number[]) => void = () => {}
  readonly #server: Server
  readonly #folder: string
  #socket: Socket | undefined
  #bytes: Buffer = Buffer.alloc(0)

  static async listen(opening: readonly Uint8Array[]): Promise<NbdServer> {
    const server = new NbdServer(opening)
    await new Promise<void>((resolve) => server.#server.listen(server.#path, resolve))
    return server
  }

  private constructor(opening: readonly Uint8Array[]) {
    this.heard = new Promise((resolve) => {
      this.#hear = resolve
    })
    this.#folder = mkdtempSync(join(tmpdir(), 'outboard-nbd-'))
    this.#server = createServer((socket) => {
      this.#socket = socket
      socket.on('data', (bytes) => this.#take(bytes)).on('error', () => {})
      socket.write(Buffer.concat(opening))
    })
  }

  get #path(): string {
    return join(this.#folder, 'nbd.sock')
  }

  connect(): UnixStream {
    return UnixStream.connect(this.#path)
  }

  say(bytes: Uint8Array): void {
    this.#socket?.write(bytes)
  }

  /** Stops reading until `resume`. */
  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  /** Disconnects when all bytes are sent. */
  hangUp(): void {
    this.#socket?.end()
  }

  close(): void {
    this.#socket?.destroy()
    this.#server.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #take(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    // Client's part of the handshake: 4 bytes of flags, and one option.
    while (this.#handshake.length < HANDSHAKE_BYTES && this.#bytes.length > 0) {
      this.#handshake.push(this.#bytes[0])
      this.#bytes = this.#bytes.subarray(1)
    }
    if (this.#handshake.length === HANDSHAKE_BYTES) this.#hear(this.#handshake)
    for (;;) {
      if (this.#bytes.length < REQUEST_BYTES) return
      const { magic, type, flags, cookie, offset, length } = requestHeader.decode(this.#bytes)
      if (magic !== Magic.REQUEST) throw new Error(`the client sent a request with the magic number ${magic}`)
      const end = REQUEST_BYTES + (type === NbdCommand.WRITE ? length : 0)
      if (this.#bytes.length < end) return
      const data = this.#bytes.subarray(REQUEST_BYTES, end)
      this.#bytes = this.#bytes.subarray(end)
      this.onRequest({ type, flags, cookie, offset: Number(offset), length, data })
    }
  }
}

const HANDSHAKE_BYTES = 26
