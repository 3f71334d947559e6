import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, statSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { HandReactor } from '../../transport/socket/testing/hand-reactor.ts'
import { FrameServer } from './frame-server.ts'
import {
  ACKNOWLEDGE,
  BUFFER,
  encode,
  FRAME,
  FrameSource,
  HELLO,
  MAGIC,
  READY,
  RELEASE,
  VERSION,
  Wanted,
} from './protocol.ts'
import { FramesRig } from './testing/frames-rig.ts'
import { RawConsumer } from './testing/raw-consumer.ts'

const skip = ffiMissing() ?? false
const openDescriptors = () => readdirSync('/proc/self/fd').length
const NOBODY = 65_534

async function withRig(body: (rig: FramesRig) => Promise<void>, users?: readonly number[]): Promise<void> {
  const rig = new FramesRig({ memoryFiles: true, ...(users && { users }) })
  try {
    await body(rig)
  } finally {
    await rig.close()
  }
}

const header = (size: number, type: number) => Uint8Array.from([size, 0, 0, 0, type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])

const WRONG: readonly [what: string, send: (consumer: RawConsumer) => void, reason: RegExp][] = [
  ['another protocol', (to) => to.send(encode(HELLO, { magic: 1, version: VERSION, flags: 1 })), /another protocol/],
  ['another version', (to) => to.greet(Wanted.SCANOUTS, 2), /version 2 is not supported, only 1/],
  ['no flags', (to) => to.greet(0), /invalid flags: 0$/],
  ['unknown flags', (to) => to.greet(0x11), /invalid flags: 17$/],
  ['no greeting', (to) => to.send(encode(RELEASE, { buffer: 1 })), /first message is not HELLO/],
  [
    'a greeting that is too short',
    (to) => to.send(Uint8Array.of(...header(20, 1), 0, 0, 0, 0)),
    /4 bytes instead of 16/,
  ],
  ['a message smaller than its header', (to) => to.send(header(15, 1)), /a message of 15 bytes/],
  [
    'a message of excessive size',
    (to) => to.send(Uint8Array.of(0xff, 0xff, 0xff, 0xff, ...header(9, 9))),
    /4294967295 bytes/,
  ],
]

for (const [what, send, reason] of WRONG) {
  test(`a consumer that begins with ${what} is disconnected and receives the reason`, { skip }, async () => {
    await withRig(async (rig) => {
      const consumer = new RawConsumer(rig.path)
      send(consumer)
      assert.match((await consumer.refusal()) ?? '', reason)
      assert.equal(await consumer.next(), undefined)
      assert.ok(consumer.ended)
      assert.equal(rig.log.length, 1)
      assert.match(rig.log[0], reason)
      assert.deepEqual(rig.server.inspect(), { consumers: [], refused: 0, dropped: 1 })
      consumer.close()
    })
  })
}

const WRONG_LATER: readonly [what: string, bytes: Uint8Array, reason: RegExp][] = [
  ['acknowledges an unknown scanout', encode(ACKNOWLEDGE, { source: 0, id: 99, sequence: 1 }), /not sent to it/],
  ['acknowledges an unknown frame', encode(ACKNOWLEDGE, { source: 0, id: 0, sequence: 99 }), /not sent to it/],
  ['acknowledges an unknown buffer', encode(ACKNOWLEDGE, { source: 1, id: 5, sequence: 1 }), /not sent to it/],
  ['acknowledges an unknown source', encode(ACKNOWLEDGE, { source: 7, id: 1, sequence: 1 }), /not sent to it/],
  ['releases an unknown buffer', encode(RELEASE, { buffer: 99 }), /releases a buffer/],
  ['releases an invalid id', encode(RELEASE, { buffer: 2 ** 60 }), /releases a buffer/],
  ['greets again', encode(HELLO, { magic: MAGIC, version: VERSION, flags: 1 }), /type 1 is not valid/],
  ['sends a message of servers', encode(READY, undefined), /type 11 is not valid/],
  ['sends an unknown type', header(16, 0xff), /type 255 is not valid/],
  ['sends a body of the wrong size', Uint8Array.of(...header(17, RELEASE.type), 1), /1 bytes instead of 8/],
]

for (const [what, bytes, reason] of WRONG_LATER) {
  test(`a consumer that ${what} is disconnected, and all its resources are released`, { skip }, async () => {
    await withRig(async (rig) => {
      const picture = rig.picture(1, 64, 48)
      rig.show(picture)
      const consumer = new RawConsumer(rig.path)
      consumer.greet()
      assert.ok(await consumer.next(READY.type))
      const before = openDescriptors()
      consumer.send(bytes)
      assert.match((await consumer.refusal()) ?? '', reason)
      assert.equal(rig.log.length, 1)
      assert.equal(rig.server.inspect().consumers.length, 0)
      assert.equal(openDescriptors(), before - 1)
      for (const { holders } of rig.buffers.inspect().buffers) assert.equal(holders, 0)
      consumer.close()
    })
  })
}

test('a consumer that sends descriptors is disconnected, and they are closed', { skip }, async () => {
  await withRig(async (rig) => {
    const file = MemoryFile.create('a file', 4096)
    const consumer = new RawConsumer(rig.path)
    await consumer.next()
    const before = openDescriptors()
    consumer.send(encode(HELLO, { magic: MAGIC, version: VERSION, flags: 1 }), [file.descriptor, file.descriptor])
    assert.match((await consumer.refusal()) ?? '', /its message has descriptors/)
    assert.equal(openDescriptors(), before - 1)
    consumer.close()
    file.close()
  })
})

test('acknowledging a frame twice disconnects the consumer', { skip }, async () => {
  await withRig(async (rig) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    const consumer = new RawConsumer(rig.path)
    consumer.greet()
    const frame = await consumer.next(FRAME.type)
    assert.ok(frame)
    const { id, sequence } = FRAME.payload.parse(frame.payload)
    const acknowledgement = encode(ACKNOWLEDGE, { source: FrameSource.SCANOUT, id, sequence })
    consumer.send(acknowledgement)
    rig.draw(picture, 1)
    assert.ok(await consumer.next(FRAME.type))
    consumer.send(acknowledgement)
    assert.match((await consumer.refusal()) ?? '', /not sent to it/)
    consumer.close()
  })
})

test('a greeting, and the rest of a partial message, must arrive in time', { skip }, async () => {
  const reactor = new HandReactor()
  const buffers = GuestBuffers.open({ device: '/dev/there-is-no-udmabuf' })
  const rig = new FramesRig()
  const log: string[] = []
  const server = FrameServer.listen(`${rig.path}2`, buffers, reactor, { log: (line) => log.push(line) })
  const silent = new RawConsumer(`${rig.path}2`)
  reactor.turn()
  reactor.elapse(5000)
  assert.match((await silent.refusal()) ?? '', /timeout: its message is incomplete/)
  const idle = new RawConsumer(`${rig.path}2`)
  idle.greet()
  for (let turns = 0; turns < 5; turns++) reactor.turn()
  assert.equal(server.inspect().consumers.length, 1)
  reactor.elapse(3_600_000)
  assert.equal(server.inspect().consumers.length, 1)
  idle.send(encode(RELEASE, { buffer: 1 }).subarray(0, 7))
  reactor.turn()
  reactor.elapse(5000)
  assert.match((await idle.refusal()) ?? '', /timeout: its message is incomplete/)
  assert.equal(log.length, 2)
  for (const closable of [silent, idle, server, buffers]) closable.close()
  await rig.close()
})

test('if all places are taken, a new consumer replaces the one that has been silent for longest', {
  skip,
}, async () => {
  const reactor = new HandReactor()
  const buffers = GuestBuffers.open({ device: '/dev/there-is-no-udmabuf' })
  const rig = new FramesRig()
  const socket = `${rig.path}2`
  const server = FrameServer.listen(socket, buffers, reactor)
  const join = () => {
    const consumer = new RawConsumer(socket)
    consumer.greet()
    for (let turns = 0; turns < 3; turns++) reactor.turn()
    return consumer
  }
  const consumers = Array.from({ length: 16 }, join)
  const refused = join()
  assert.match((await refused.refusal()) ?? '', /already are 16 consumers/, 'no consumer was silent long enough')
  reactor.elapse(5000)
  const newcomer = join()
  assert.ok(await newcomer.next(READY.type))
  assert.match((await consumers[0].refusal()) ?? '', /needed for another consumer/)
  assert.equal(server.inspect().consumers.length, 16)
  for (const closable of [...consumers, refused, newcomer, server, buffers]) closable.close()
  await rig.close()
})

test('the bytes of buffers that a consumer holds after the guest took them back are limited', { skip }, async () => {
  const reactor = new HandReactor()
  const rig = new FramesRig()
  const server = FrameServer.listen(`${rig.path}2`, rig.buffers, reactor)
  const bytes = 5 << 20
  const consumer = new RawConsumer(`${rig.path}2`)
  consumer.greet(Wanted.BUFFERS)
  const given: number[] = []
  for (let id = 1; id <= 53; id++) {
    rig.gpu.createBlob(id, bytes, [{ address: 0, length: bytes }], 1, 2)
    for (let turns = 0; turns < 3; turns++) reactor.turn()
    const message = await consumer.next(BUFFER.type)
    assert.ok(message)
    given.push(BUFFER.payload.parse(message.payload).description.buffer)
  }
  const release = (buffer: number) => consumer.send(encode(RELEASE, { buffer }))
  const takeBack = (...ids: number[]) => {
    for (const id of ids) rig.gpu.unref(id)
  }
  const [{ buffers }] = server.inspect().consumers
  assert.equal(buffers, 53)
  takeBack(...Array.from({ length: 52 }, (_, i) => i + 1))
  reactor.elapse(4999)
  // Releases one in time: 51 buffers do not exceed 256 MiB.
  release(given[0])
  reactor.turn()
  reactor.elapse(3_600_000)
  assert.equal(server.inspect().consumers[0]?.staleBytes, 51 * bytes)
  takeBack(53)
  reactor.elapse(4999)
  assert.equal(server.inspect().consumers.length, 1)
  reactor.elapse(1)
  assert.equal(server.inspect().consumers.length, 0)
  assert.match(
    (await consumer.refusal()) ?? '',
    /timeout: it still holds 272629760 bytes of buffers that the guest took back/,
  )
  assert.deepEqual(rig.buffers.inspect().buffers, [])
  consumer.close()
  server.close()
  await rig.close()
})

test('sixteen consumers are accepted, and the next receives the reason of its refusal', { skip }, async () => {
  await withRig(async (rig) => {
    const consumers = Array.from({ length: 16 }, () => new RawConsumer(rig.path))
    for (const consumer of consumers) assert.ok(await consumer.next(HELLO.type))
    const another = new RawConsumer(rig.path)
    assert.match((await another.refusal()) ?? '', /already are 16 consumers/)
    consumers[0].close()
    another.close()
    const { refused, dropped } = rig.server.inspect()
    assert.deepEqual({ refused, dropped }, { refused: 1, dropped: 0 })
    for (const consumer of consumers) consumer.close()
  })
})

test('a thousand consumers leave no open descriptor', { skip }, async () => {
  await withRig(async (rig) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    const visit = async (i: number): Promise<void> => {
      const consumer = new RawConsumer(rig.path)
      if (i % 2 === 0) consumer.greet(Wanted.SCANOUTS | Wanted.BUFFERS)
      if (i % 3 === 0) consumer.send(encode(RELEASE, { buffer: i }))
      if (i % 4 === 0) await consumer.next(FRAME.type).then((frame) => assert.ok(frame))
      if (i % 5 === 0) consumer.send(header(200, 3))
      consumer.close()
      while (rig.server.inspect().consumers.length > 0) await new Promise(setImmediate)
    }
    await visit(4)
    const before = openDescriptors()
    for (let i = 4; i < 1000; i += 1) await visit(i % 12 === 0 ? 4 : i)
    assert.equal(openDescriptors(), before)
    for (const { holders } of rig.buffers.inspect().buffers) assert.equal(holders, 0)
  })
})

test('only this user can open the socket, unless other users are listed', { skip }, async () => {
  const umask = process.umask(0)
  try {
    await withRig(async (rig) => assert.equal(statSync(rig.path).mode & 0o777, 0o600))
    await withRig(async (rig) => assert.equal(statSync(rig.path).mode & 0o777, 0o666), [NOBODY])
  } finally {
    process.umask(umask)
  }
})

/** Returns what a program of another user receives from a socket, until it is closed or sends a greeting. */
async function asNobody(path: string): Promise<string> {
  const program = `
    const socket = require('node:net').connect(${JSON.stringify(path)})
    socket.on('data', (bytes) => {
      process.stdout.write(bytes.toString('latin1'))
      if (bytes.includes('FRAM')) process.exit()
    })
    socket.on('end', () => process.exit())`
  const child = spawn(process.execPath, ['-e', program], { uid: NOBODY, gid: NOBODY, cwd: '/', stdio: 'pipe' })
  let output = ''
  child.stdout.on('data', (bytes: Buffer) => {
    output += bytes.toString('latin1')
  })
  await once(child, 'close')
  return output
}

const notRoot = process.getuid?.() === 0 ? skip : 'only root can start a program as another user'

test('another user is refused by its credentials, whatever the permissions of the file', {
  skip: notRoot,
}, async () => {
  await withRig(async (rig) => {
    chmodSync(rig.folder, 0o755)
    chmodSync(rig.path, 0o666)
    assert.match(await asNobody(rig.path), new RegExp(`user ${NOBODY} has no access to this guest's buffers`))
    assert.equal(rig.server.inspect().refused, 1)
    assert.match(rig.log[0], /refused process \d+: user 65534/)
  })
})

test('another user is accepted if it is listed', { skip: notRoot }, async () => {
  await withRig(
    async (rig) => {
      chmodSync(rig.folder, 0o755)
      const output = await asNobody(rig.path)
      assert.match(output, /FRAM/)
      assert.equal(rig.server.inspect().refused, 0)
    },
    [NOBODY],
  )
})

test('a consumer may release its last buffer while messages about it wait to be read', {
  skip,
}, async () => {
  await withRig(async (rig) => {
    const picture = rig.picture(1, 64, 48)
    rig.show(picture)
    const consumer = new RawConsumer(rig.path)
    consumer.greet()
    assert.ok(await consumer.next(FRAME.type))
    const [{ id }] = rig.server.buffers
    // The buffer is described repeatedly, until the socket has no room.
    for (let i = 0; i < 1500; i++) {
      rig.show({ ...picture, height: 40 + (i & 1) })
      await turn()
    }
    consumer.send(encode(RELEASE, { buffer: id }))
    await sleep(20)
    assert.deepEqual([rig.log, rig.server.inspect().consumers.length], [[], 1])
    consumer.close()
  })
})
