import { once } from 'node:events'
import { Socket } from 'node:net'
import type { Descriptor } from '../../src/host/linux/descriptor.ts'
import { END, socketPair, UnixStream } from '../../src/host/linux/unix-stream.ts'
import { until } from '../until.ts'

const METHOD_CALL = 1
/** Fields of a message's header. @see the D-Bus specification, "Header Fields" */
const Field = { PATH: 1, INTERFACE: 2, MEMBER: 3, SIGNATURE: 8 } as const

/**
 * Window of a program that shows QEMU's screens, connected by peer-to-peer D-Bus.
 *
 *     const window = await Window.open('monitor2.sock')      // a monitor without other users
 *     window.resize(0, 1152, 720)
 */
export class Window {
  readonly #socket: Socket
  #serial = 0

  /** QEMU must be started with `-display dbus,p2p=yes`. */
  static async open(monitor: string): Promise<Window> {
    const [ours, theirs] = socketPair('a window')
    const stream = UnixStream.connect(monitor)
    const ask = async (command: string, descriptors: Descriptor[] = []) => {
      stream.send(Buffer.from(`${command}\n`), descriptors)
      await answerOn(stream)
    }
    await ask('{"execute":"qmp_capabilities"}')
    await ask('{"execute":"getfd","arguments":{"fdname":"window"}}', [theirs.descriptor])
    theirs.close()
    await ask('{"execute":"add_client","arguments":{"protocol":"@dbus-display","fdname":"window"}}')
    stream.close()
    const socket = new Socket({ fd: ours.descriptor.release() })
    socket.on('error', () => {})
    socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(process.getuid?.() ?? 0)).toString('hex')}\r\n`)
    const [answer] = await once(socket, 'data')
    if (!String(answer).startsWith('OK ')) throw new Error(`D-Bus: ${answer}`)
    socket.write('BEGIN\r\n')
    return new Window(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.resume()
  }

  /** Resizes the window of a screen. */
  resize(screen: number, width: number, height: number): void {
    const body = Buffer.alloc(20)
    body.writeUInt32LE(width, 12)
    body.writeUInt32LE(height, 16)
    const fields = [
      field(Field.PATH, 'o', `/org/qemu/Display1/Console_${screen}`),
      field(Field.INTERFACE, 's', 'org.qemu.Display1.Console'),
      field(Field.MEMBER, 's', 'SetUIInfo'),
      field(Field.SIGNATURE, 'g', 'qqiiuu'),
    ]
    // Each starts at a multiple of 8; padding after the last one is not counted.
    const padded = fields.map((bytes, i) => (i < fields.length - 1 ? aligned(bytes) : bytes))
    const list = Buffer.concat(padded)
    const head = Buffer.alloc(16)
    head.write('l')
    head.writeUInt8(METHOD_CALL, 1)
    head.writeUInt8(1, 3)
    head.writeUInt32LE(body.length, 4)
    head.writeUInt32LE(++this.#serial, 8)
    head.writeUInt32LE(list.length, 12)
    this.#socket.write(Buffer.concat([head, aligned(list), body]))
  }

  close(): void {
    this.#socket.destroy()
  }
}

function field(code: number, signature: 'o' | 's' | 'g', value: string): Buffer {
  const text = Buffer.from(`${value}\0`)
  const length = signature === 'g' ? Buffer.of(value.length) : Buffer.alloc(4)
  if (signature !== 'g') length.writeUInt32LE(value.length)
  return Buffer.concat([Buffer.of(code, 1, signature.charCodeAt(0), 0), length, text])
}

function aligned(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 7)])
}

/** Waits for an answer of the monitor. */
async function answerOn(stream: UnixStream): Promise<void> {
  await until('the monitor answers', () => {
    const received = stream.receive()
    if (received === END) throw new Error('the monitor is gone')
    const said = received ? Buffer.from(received.bytes).toString() : ''
    if (said.includes('"error"')) throw new Error(said)
    return said.includes('"return"')
  })
}
