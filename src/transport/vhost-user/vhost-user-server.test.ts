import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { MemoryDisk } from '../../backends/disk/memory-disk.ts'
import { BlockDevice } from '../../devices/virtio/block/block.ts'
import { BlkType } from '../../devices/virtio/block/protocol.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { socketPair, UnixStream } from '../../host/linux/unix-stream.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { RemoteDriver } from './testing/remote-driver.ts'
import { serveVhostUser } from './vhost-user-server.ts'

const skip = ffiMissing() ?? false

function scratch(context: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'vhost-user-'))
  context.after(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Creates a reactor that runs until the end of the test. */
function running(context: TestContext) {
  const reactor = createReactor()
  const run = reactor.run()
  context.after(async () => {
    reactor.stop()
    await run
    reactor.close()
  })
  return reactor
}

const header = (type: number, sector: number) => Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, sector, 0, 0, 0, 0, 0, 0, 0)

test('front-ends one after another write and read a disk over a Unix socket', { skip }, async (context) => {
  const before = openDescriptors()
  const socket = path.join(scratch(context), 'disk.sock')
  const reactor = createReactor()
  const run = reactor.run()
  const logged: string[] = []
  const device = new BlockDevice(new MemoryDisk(new Uint8Array(1 << 20)), { queues: 2 })
  const server = serveVhostUser(device, UnixListener.listen(socket), reactor, { log: (line) => logged.push(line) })
  for (let round = 0; round < 3; round++) {
    const driver = await RemoteDriver.start(UnixStream.connect(socket), { queues: 2, queueSize: 64 })
    for (let sector = 0; sector < 40; sector++) {
      const data = new Uint8Array(512).fill(round * 50 + sector)
      const queue = sector % 2
      assert.deepEqual((await driver.request(queue, [header(BlkType.OUT, sector), data], [1])).at(-1), Uint8Array.of(0))
      const [read, status] = await driver.request(queue, [header(BlkType.IN, sector)], [512, 1])
      assert.deepEqual(status, Uint8Array.of(0))
      assert.deepEqual(read, data)
    }
    driver.close()
  }
  server.close()
  await server.closed
  reactor.stop()
  await run
  reactor.close()
  assert.equal(logged.filter((line) => line === 'block: front-end connected').length, 3)
  assert.equal(openDescriptors(), before)
})

test('inspect returns the state of the device as the front-end set it up', { skip }, async (context) => {
  const socket = path.join(scratch(context), 'disk.sock')
  const reactor = running(context)
  const device = new BlockDevice(new MemoryDisk(new Uint8Array(1 << 20)), { queues: 2 })
  const server = serveVhostUser(device, UnixListener.listen(socket), reactor, { log: () => {} })
  assert.deepEqual(server.inspect().status, [])
  assert.deepEqual(
    server.inspect().queues.map(({ enabled }) => enabled),
    [false, false],
  )
  const driver = await RemoteDriver.start(UnixStream.connect(socket), { queues: 2, queueSize: 64 })
  await driver.request(1, [header(BlkType.IN, 0)], [512, 1])
  const { status, negotiated, queues, state } = server.inspect()
  assert.ok(status.includes('DRIVER_OK') && status.includes('FEATURES_OK'), status.join())
  assert.ok(negotiated.includes('VERSION_1'), negotiated.join())
  assert.deepEqual(
    queues.map(({ size, enabled, pushed }) => [size, enabled, pushed]),
    [
      [64, true, 0],
      [64, true, 1],
    ],
  )
  assert.deepEqual(state, device.inspect())
  driver.close()
  server.close()
  await server.closed
})

test('a front-end that connects while another is served waits', { skip }, async (context) => {
  const socket = path.join(scratch(context), 'echo.sock')
  const reactor = running(context)
  const server = serveVhostUser(new EchoDevice(), UnixListener.listen(socket), reactor, { log: () => {} })
  const first = await RemoteDriver.start(UnixStream.connect(socket), { queues: 2, queueSize: 16 })
  const second = RemoteDriver.start(UnixStream.connect(socket), { queues: 2, queueSize: 16 })
  assert.deepEqual(await first.request(0, [Uint8Array.of(1)], [1]), [Uint8Array.of(1)])
  first.close()
  const driver = await second
  assert.deepEqual(await driver.request(1, [Uint8Array.of(2)], [1]), [Uint8Array.of(2)])
  server.close()
  await server.closed
  driver.close()
})

test('a server of a connected socket serves that connection only', { skip }, async (context) => {
  const reactor = running(context)
  const [ours, theirs] = socketPair('a connection')
  const server = serveVhostUser(new EchoDevice(), theirs, reactor, { log: () => {} })
  const driver = await RemoteDriver.start(ours, { queues: 2, queueSize: 16 })
  assert.deepEqual(await driver.request(0, [Uint8Array.of(1)], [1]), [Uint8Array.of(1)])
  driver.close()
  await server.closed
})

test('a server connects to a listening front-end, retries until it listens, and reconnects after a disconnection', {
  skip,
}, async (context) => {
  const socket = path.join(scratch(context), 'front-end.sock')
  const reactor = running(context)
  const logged: string[] = []
  const options = { log: (line: string) => logged.push(line) }
  const server = serveVhostUser(new EchoDevice(), { connectTo: socket }, reactor, options)
  for (let round = 0; round < 2; round++) {
    const listener = UnixListener.listen(socket)
    let stream = listener.accept()
    while (!stream) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      stream = listener.accept()
    }
    const driver = await RemoteDriver.start(stream, { queues: 2, queueSize: 16 })
    assert.deepEqual(await driver.request(0, [Uint8Array.of(1)], [1]), [Uint8Array.of(1)])
    listener.close()
    driver.close()
  }
  server.close()
  await server.closed
})

test('the number of log lines about connections is limited', { skip }, async (context) => {
  const socket = path.join(scratch(context), 'echo.sock')
  const lines: string[] = []
  const reactor = running(context)
  const release = reactor.keepMicrotasksRunning()
  const server = serveVhostUser(new EchoDevice(), UnixListener.listen(socket), reactor, {
    log: (line) => lines.push(line),
  })
  for (let i = 0; i < 300; i++) {
    const peer = connect(socket)
    peer.on('error', () => {}).resume()
    peer.write(new Uint8Array(12).fill(0xff))
    await once(peer, 'close')
  }
  server.close()
  await server.closed
  release.close()
  // 20 at once, and one more for every five seconds.
  assert.ok(lines.length >= 20 && lines.length < 100, `${lines.length} lines`)
  assert.match(lines[19] ?? '', /suppressed for a while\)$/)
})
