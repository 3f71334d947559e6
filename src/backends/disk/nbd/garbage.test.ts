import assert from 'node:assert/strict'
import { test } from 'node:test'
import { garbage, NOISE } from '../../../../test/garbage.ts'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { IoVectors } from '../../../host/linux/io-vectors.ts'
import { Interest } from '../../../host/linux/reactor/reactor.ts'
import { mappedMemory } from '../../../host/linux/reactor/testing/mapped-memory.ts'
import { UnixListener } from '../../../host/linux/unix-listener.ts'
import { UnixStream } from '../../../host/linux/unix-stream.ts'
import { Scratch } from '../../../host/node/testing/scratch.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { NbdDisk } from './nbd-disk.ts'
import { Magic, REPLY_BYTES, REQUEST_BYTES } from './protocol.ts'
import { acknowledgement, exportBytes, openingBytes, simpleReply } from './testing/nbd-server.ts'

const ROUNDS = 2000
const DATA_BYTES = 4096
/** Export that `enterExport` would return. */
const CLIENT_HANDSHAKE_BYTES = 26

/** Reactor whose turns the test runs. */
class Turns {
  readonly ready: (() => void)[] = []
  hook: () => boolean | undefined = () => false

  watch(_fd: number, ready: () => void, interest: Interest = Interest.READABLE) {
    assert.equal(interest, Interest.READABLE, 'nothing has to wait')
    this.ready.push(ready)
    return { close: () => {} }
  }

  onTurn(hook: () => boolean | undefined) {
    this.hook = hook
    return { close: () => {} }
  }
}

test('requests in a steady state allocate no memory', { skip: ffiMissing() ?? false }, async () => {
  const path = `${new Scratch().folder}/nbd.sock`
  const listener = UnixListener.listen(path)
  const stream = UnixStream.connect(path)
  const server = listener.accept()
  assert.ok(server)
  server.send(Buffer.concat([openingBytes(), exportBytes(1 << 20), acknowledgement()]))
  const turns = new Turns()
  const disk = await NbdDisk.open(stream, turns, { name: 'x' })
  // Everything else is created once.
  const { region } = mappedMemory(1 << 20)
  const data = new SpanList()
  data.add(region, 0, 1000)
  data.add(region, 8192, DATA_BYTES - 1000)
  let completed = 0
  const complete = (failure?: string): void => {
    if (failure === undefined) completed++
  }
  const read: DiskRequest = { op: DiskOp.READ, offset: 4096, length: DATA_BYTES, mayUnmap: false, data, complete }
  const write: DiskRequest = { ...read, op: DiskOp.WRITE }
  const received = new Uint8Array(new ArrayBuffer(CLIENT_HANDSHAKE_BYTES + 2 * REQUEST_BYTES + DATA_BYTES))
  const said = new Uint8Array(new ArrayBuffer(2 * REPLY_BYTES + DATA_BYTES))
  said.set(simpleReply(0n, 0, new Uint8Array(DATA_BYTES), Magic.SIMPLE_REPLY))
  said.set(simpleReply(0n), REPLY_BYTES + DATA_BYTES)
  const vectors = new IoVectors()
  vectors.addBytes(received, 0, CLIENT_HANDSHAKE_BYTES)
  assert.equal(vectors.read(server.fd), CLIENT_HANDSHAKE_BYTES)
  const round = (): void => {
    disk.submit(read)
    disk.submit(write)
    turns.hook()
    vectors.clear()
    vectors.addBytes(received, 0, received.length)
    if (vectors.read(server.fd) !== 2 * REQUEST_BYTES + DATA_BYTES) throw new Error('the requests did not come at once')
    // Each reply contains the cookie of its request.
    for (let i = 0; i < 8; i++) {
      said[8 + i] = received[8 + i]
      said[REPLY_BYTES + DATA_BYTES + 8 + i] = received[REQUEST_BYTES + 8 + i]
    }
    vectors.clear()
    vectors.addBytes(said, 0, said.length)
    vectors.write(server.fd)
    for (let i = 0; i < turns.ready.length; i++) turns.ready[i]()
  }
  round()
  assert.equal(completed, 2)
  const grown = garbage(() => {
    for (let i = 0; i < ROUNDS; i++) round()
  })
  assert.ok(grown < NOISE, `${grown} bytes of garbage in ${ROUNDS} rounds`)
  stream.close()
  server.close()
  listener.close()
})
