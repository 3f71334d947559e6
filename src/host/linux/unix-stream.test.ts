import assert from 'node:assert/strict'
import { existsSync, fstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { EventFd } from './event-fd.ts'
import { ffiMissing } from './ffi.ts'
import { MemoryFile } from './memory-file.ts'
import { UnixListener } from './unix-listener.ts'
import { END, isListening, type Received, socketPair, UnixStream } from './unix-stream.ts'

const skip = ffiMissing() ?? false
const folder = mkdtempSync(join(tmpdir(), 'outboard-socket-'))
after(() => rmSync(folder, { recursive: true }))

const openDescriptors = () => readdirSync('/proc/self/fd').length

function received(stream: UnixStream): Received {
  const result = stream.receive()
  assert.ok(result !== undefined && result !== END)
  return result
}

test('bytes and descriptors pass in both directions', { skip }, () => {
  const [near, far] = socketPair('a test')
  const event = EventFd.create('an event')
  const memory = MemoryFile.create('memory', 4096)
  for (const [from, to] of [
    [near, far],
    [far, near],
  ]) {
    from.send(Uint8Array.of(1, 2, 3), [event.descriptor, memory.descriptor])
    const { bytes, descriptors, truncated } = received(to)
    assert.deepEqual([...bytes], [1, 2, 3])
    assert.equal(descriptors.length, 2)
    assert.ok(!truncated)
    assert.equal(fstatSync(descriptors[1].fd).size, 4096)
    const copy = EventFd.fromDescriptor(descriptors[0])
    copy.signal()
    assert.equal(event.drain(), 1)
    for (const descriptor of descriptors) descriptor.close()
  }
  for (const closable of [near, far, event, memory]) closable.close()
})

test('receive returns undefined before bytes arrive, and END after the peer closed', { skip }, () => {
  const [near, far] = socketPair('a test')
  assert.equal(near.receive(), undefined)
  far.send(Uint8Array.of(1))
  far.close()
  assert.deepEqual([...received(near).bytes], [1])
  assert.equal(near.receive(), END)
  assert.throws(() => near.send(Uint8Array.of(1)), { name: 'SystemCallError', code: 'EPIPE' })
  assert.equal(near.write(Uint8Array.of(1)), -32)
  near.close()
})

test('after a peer died in the middle of a message, its bytes are received before END', { skip }, () => {
  const [near, far] = socketPair('a test')
  // A peer that closes with unread bytes resets the connection.
  near.send(Uint8Array.of(9, 9))
  far.send(Uint8Array.of(1, 2))
  far.close()
  assert.deepEqual([...received(near).bytes], [1, 2])
  assert.equal(near.receive(), END)
  near.close()
})

test('descriptors arrive with the first byte that they were sent with', { skip }, () => {
  const [near, far] = socketPair('a test')
  const event = EventFd.create('an event')
  far.send(Uint8Array.of(1))
  far.send(Uint8Array.of(2), [event.descriptor])
  far.send(Uint8Array.of(3))
  const parts: [number[], number][] = []
  for (let part = near.receive(); part !== undefined && part !== END; part = near.receive()) {
    parts.push([[...part.bytes], part.descriptors.length])
    for (const descriptor of part.descriptors) descriptor.close()
  }
  assert.deepEqual(
    parts.flatMap(([bytes]) => bytes),
    [1, 2, 3],
  )
  assert.equal(parts.find(([bytes]) => bytes.includes(2))?.[1], 1)
  for (const closable of [near, far, event]) closable.close()
})

test('send throws EAGAIN after a time limit if the peer does not read', { skip }, () => {
  const [near, far] = socketPair('a test')
  assert.throws(() => near.send(new Uint8Array(8 << 20)), { name: 'SystemCallError', code: 'EAGAIN' })
  assert.equal(near.write(Uint8Array.of(1)), -11)
  near.close()
  far.close()
})

test('bytes written in pieces arrive completely', { skip }, () => {
  const [near, far] = socketPair('a test')
  const sent = Uint8Array.from({ length: 1 << 20 }, (_, i) => i * 31 + (i >>> 9))
  const got: Uint8Array[] = []
  for (let at = 0, left = sent.length; left > 0; ) {
    if (at < sent.length) at += Math.max(0, near.write(sent, at))
    const part = far.receive()
    if (part === undefined || part === END) continue
    got.push(part.bytes.slice())
    left -= part.bytes.length
  }
  assert.deepEqual(Buffer.concat(got), Buffer.from(sent))
  near.close()
  far.close()
})

test('a message carries up to 253 descriptors, and more are refused', { skip }, () => {
  const [near, far] = socketPair('a test')
  const event = EventFd.create('an event')
  const many = new Array(253).fill(event.descriptor)
  assert.throws(() => near.send(Uint8Array.of(1), [...many, event.descriptor]), RangeError)
  near.send(Uint8Array.of(1), many)
  const { descriptors } = received(far)
  assert.equal(descriptors.length, 253)
  for (const descriptor of descriptors) descriptor.close()
  for (const closable of [near, far, event]) closable.close()
})

test('a listener accepts connections in order, and removes its socket file when closed', { skip }, () => {
  const path = join(folder, 'a.sock')
  const listener = UnixListener.listen(path)
  assert.ok(isListening(listener.descriptor))
  assert.equal(listener.accept(), undefined)
  const peers = [UnixStream.connect(path), UnixStream.connect(path)]
  const accepted = [listener.accept(), listener.accept()]
  assert.equal(listener.accept(), undefined)
  accepted.forEach((stream, i) => {
    assert.ok(stream)
    assert.ok(!isListening(stream.descriptor))
    stream.send(Uint8Array.of(i))
    assert.deepEqual([...received(peers[i]).bytes], [i])
    stream.close()
    peers[i].close()
  })
  listener.close()
  assert.ok(!existsSync(path))
})

test('a socket file without a listener is replaced; other files and sockets in use are not', { skip }, () => {
  const path = join(folder, 'b.sock')
  const first = UnixListener.listen(path)
  assert.throws(() => UnixListener.listen(path), { code: 'EADDRINUSE' })
  const descriptor = first.descriptor
  // Leaves the socket file, as a killed process does.
  descriptor.close()
  first.close()
  assert.ok(existsSync(path))
  UnixListener.listen(path).close()
  const file = join(folder, 'file')
  writeFileSync(file, 'precious')
  assert.throws(() => UnixListener.listen(file), { code: 'EADDRINUSE' })
  assert.ok(existsSync(file))
})

test('connect throws the reason if it fails', { skip }, () => {
  assert.throws(() => UnixStream.connect(join(folder, 'nothing')), { name: 'SystemCallError', code: 'ENOENT' })
  assert.throws(() => UnixStream.connect(join(folder, 'x'.repeat(120))), /must have 1 to 107 bytes/)
})

test('a thousand connections leave no open descriptor', { skip }, () => {
  const path = join(folder, 'c.sock')
  const before = openDescriptors()
  const listener = UnixListener.listen(path)
  const event = EventFd.create('an event')
  for (let i = 0; i < 1000; i++) {
    const peer = UnixStream.connect(path)
    const stream = listener.accept()
    assert.ok(stream)
    peer.send(Uint8Array.of(i), [event.descriptor, event.descriptor])
    if (i % 3 === 0) peer.close()
    const { descriptors } = received(stream)
    for (const descriptor of descriptors) descriptor.close()
    assert.equal(stream.receive(), i % 3 === 0 ? END : undefined)
    stream.close()
    peer.close()
  }
  assert.throws(() => UnixStream.connect(join(folder, 'nothing')))
  event.close()
  listener.close()
  assert.equal(openDescriptors(), before)
})

test('closing a descriptor again does not close another one that reuses its number', { skip }, () => {
  const first = EventFd.create('first')
  const { fd } = first.descriptor
  first.close()
  const second = EventFd.create('second')
  assert.equal(second.descriptor.fd, fd)
  first.close()
  second.signal()
  assert.equal(second.drain(), 1)
  assert.throws(() => first.descriptor.fd, /first is closed/)
  second.close()
})
