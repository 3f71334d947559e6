import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, mock, test } from 'node:test'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import type { UnixStream } from '../../host/linux/unix-stream.ts'
import { FrameClient } from './frame-client.ts'
import {
  BUFFER,
  DescriptionFlag,
  EXTENTS,
  encode,
  FRAME,
  FrameSource,
  HELLO,
  MAGIC,
  READY,
  REFUSED,
  SCANOUT,
  VERSION,
  WireKind,
  WirePath,
} from './protocol.ts'

const skip = ffiMissing() ?? false
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-client-'))
after(() => rmSync(folder, { recursive: true }))
const openDescriptors = () => readdirSync('/proc/self/fd').length

const PICTURE = {
  width: 16,
  height: 16,
  fourcc: 0x34325258,
  planeCount: 1,
  modifier: 0n,
  planes: [{ offset: 0, stride: 64 }],
}
const SOURCE = { x: 0, y: 0, width: 16, height: 16 }
const GREETING = encode(HELLO, { magic: MAGIC, version: VERSION, flags: 0 })

/** Server that sends the messages of a test. */
class TestServer {
  readonly path = path.join(folder, 'frames.sock')
  readonly #listener = UnixListener.listen(this.path)
  #stream: UnixStream | undefined

  /** Connects a client, which receives these messages first. */
  async client(...messages: readonly Uint8Array[]): Promise<FrameClient> {
    const client = FrameClient.connect(this.path)
    this.#stream = this.#listener.accept()
    for (const message of messages) this.send(message)
    return await client
  }

  send(bytes: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    this.#stream?.send(bytes, descriptors)
  }

  /** Ends the connection. */
  disconnect(): void {
    this.#stream?.close()
  }

  close(): void {
    this.disconnect()
    this.#listener.close()
  }
}

function withServer(name: string, body: (server: TestServer) => Promise<void>): void {
  test(name, { skip }, async () => {
    const server = new TestServer()
    try {
      await body(server)
    } finally {
      server.close()
    }
  })
}

function bufferOf(kind: number, byteLength: number, extents: number): Uint8Array {
  const description = { buffer: 1, flags: DescriptionFlag.PICTURE, uuid: new Uint8Array(16), picture: PICTURE }
  const texts = { nameBytes: 1, reasonBytes: 0, withheldBytes: 0, bytes: Uint8Array.of(0x78) }
  return encode(BUFFER, { description, kind, extents, byteLength, ...texts }, 1)
}

function extent(file: number, offset: number, length: number): Uint8Array {
  return encode(EXTENTS, { buffer: 1, count: 1, elements: [{ file, offset, length }] })
}

function shown(buffer: number): Uint8Array {
  return encode(SCANOUT, {
    scanout: 0,
    path: WirePath.LINEAR,
    buffer,
    source: SOURCE,
    picture: PICTURE,
    textBytes: 0,
    bytes: new Uint8Array(0),
  })
}

const FIRST = encode(FRAME, {
  source: FrameSource.SCANOUT,
  id: 0,
  sequence: 5,
  time: 1,
  count: 1,
  elements: [SOURCE],
})

withServer('a server with another greeting is not an export socket', async (server) => {
  const cases: [Uint8Array, RegExp][] = [
    [Uint8Array.from({ length: 32 }, () => 0xee), /not an export socket: a message of 4008636142 bytes/],
    [encode(HELLO, { magic: 1, version: VERSION, flags: 0 }), /magic number of another protocol/],
    [encode(HELLO, { magic: MAGIC, version: 2, flags: 0 }), /version 2 is not supported, only 1/],
    [encode(REFUSED, { textBytes: 4, bytes: new TextEncoder().encode('full') }), /^full$/],
  ]
  const before = openDescriptors()
  for (const [bytes, message] of cases) {
    await assert.rejects(server.client(bytes), { name: 'FrameError', message })
    server.disconnect()
  }
  assert.equal(openDescriptors(), before)
})

withServer('connecting fails if the server sends nothing in time or closes at once', async (server) => {
  mock.timers.enable({ apis: ['setTimeout'] })
  const silent = server.client()
  mock.timers.tick(5000)
  await assert.rejects(silent, { name: 'FrameError', message: /is not an export socket: it sends no greeting/ })
  mock.timers.reset()
  const left = server.client()
  server.disconnect()
  await assert.rejects(left, { name: 'FrameError', message: /closed the connection/ })
})

const READIED = encode(READY, undefined)

const WRONG: readonly [what: string, messages: readonly Uint8Array[], error: RegExp][] = [
  ['extents without a buffer', [READIED, extent(0, 0, 4096)], /extents without a buffer/],
  [
    'a message of unknown type',
    [READIED, Uint8Array.from([16, 0, 0, 0, 99, ...new Uint8Array(11)])],
    /unknown message type 99/,
  ],
  [
    'an extent in a file that was not sent',
    [bufferOf(WireKind.LINEAR, 4096, 1), extent(1, 0, 4096)],
    /an extent in file 1, which was not sent/,
  ],
  ['extents longer than the buffer', [bufferOf(WireKind.LINEAR, 4096, 1), extent(0, 0, 8192)], /extents of 8192 bytes/],
  ['a buffer without memory', [bufferOf(WireKind.LINEAR, 4096, 0)], /linear buffer has no extents/],
  ['a buffer of unknown kind', [bufferOf(7, 4096, 1)], /unknown buffer kind 7/],
  ['descriptors with a message that has none', [FIRST], /descriptors with a message of type/],
]

for (const [what, [first, ...rest], error] of WRONG) {
  withServer(`a server that sends ${what} is disconnected, and all descriptors are closed`, async (server) => {
    const file = MemoryFile.create('a file', 4096)
    const before = openDescriptors()
    const client = await server.client(GREETING)
    server.send(first, first === READIED ? [] : [file.descriptor])
    for (const message of rest) server.send(message)
    await assert.rejects(client.frames().next(), { name: 'FrameError', message: error })
    server.disconnect()
    assert.equal(openDescriptors(), before)
    file.close()
  })
}

withServer('an extent past the end of its file is not mapped', async (server) => {
  const file = MemoryFile.create('a file', 4096)
  const client = await server.client(GREETING)
  server.send(bufferOf(WireKind.LINEAR, 8192, 1), [file.descriptor])
  for (const message of [extent(0, 0, 8192), shown(1), FIRST]) server.send(message)
  const { value: frame } = await client.frames().next()
  assert.ok(frame)
  assert.throws(() => frame.bytes, {
    name: 'FrameError',
    message: /extents of x are not whole pages within their files/,
  })
  frame.acknowledge()
  client.close()
  file.close()
})

withServer('frames end when the server closes, and fail with the reason if it sends one', async (server) => {
  const client = await server.client(GREETING, encode(READY, undefined))
  await client.ready
  const frames = client.frames()
  const next = frames.next()
  server.disconnect()
  assert.deepEqual(await next, { value: undefined, done: true })
  assert.ok(client.isEnded)
  const other = await server.client(GREETING)
  const failing = other.frames().next()
  server.send(encode(REFUSED, { textBytes: 3, bytes: new TextEncoder().encode('bye') }))
  await assert.rejects(failing, { name: 'FrameError', message: 'bye' })
})

withServer('frames of an unknown buffer are acknowledged without being returned', async (server) => {
  const client = await server.client(GREETING, shown(1), FIRST, encode(READY, undefined))
  await client.ready
  assert.equal(client.scanouts.get(0)?.buffer, undefined)
  client.close()
  assert.deepEqual(await client.frames().next(), { value: undefined, done: true })
})
