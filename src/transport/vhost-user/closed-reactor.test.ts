import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { KINDS } from '../../host/linux/reactor/testing/kinds.ts'

const url = (name: string) => JSON.stringify(new URL(name, import.meta.url))

/**
 * Repeatedly closes a reactor before the server on it, while requests are in flight, and then the server. Runs in a
 * child process, because the test checks that the process survives.
 */
const program = (kind: string) => `
  import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
  import { BlockDevice } from ${url('../../devices/virtio/block/block.js')}
  import { DiskFile } from ${url('../../backends/disk/reactor/disk-file.js')}
  import { ReactorDisk } from ${url('../../backends/disk/reactor/reactor-disk.js')}
  import { createReactor } from ${url('../../host/linux/reactor/create-reactor.js')}
  import { UnixListener } from ${url('../../host/linux/unix-listener.js')}
  import { UnixStream } from ${url('../../host/linux/unix-stream.js')}
  import { RemoteDriver } from ${url('testing/remote-driver.js')}
  import { serveVhostUser } from ${url('vhost-user-server.js')}
  const folder = mkdtempSync('/tmp/outboard-closed-')
  const write = Uint8Array.of(1, ...new Uint8Array(15))
  for (let round = 0; round < 30; round++) {
    const reactor = createReactor({ prefer: '${kind}' })
    // Requests in flight in the kernel hold the file and its lock, so each round has its own.
    const image = folder + '/' + round + '.img'
    writeFileSync(image, new Uint8Array(1 << 20))
    const file = DiskFile.open(image)
    const disk = new ReactorDisk(file.shared, reactor)
    const listener = UnixListener.listen(folder + '/disk.sock')
    const server = serveVhostUser(new BlockDevice(disk), listener, reactor, { log: () => {} })
    const run = reactor.run()
    const driver = await RemoteDriver.start(UnixStream.connect(folder + '/disk.sock'), { queues: 1, queueSize: 64 })
    await driver.request(0, [write, new Uint8Array(4096)], [1])
    const { guest } = driver
    for (let i = 0; i < 20; i++) {
      const at = guest.allocator.allocate(16401)
      guest.region.u8.set(write, at)
      guest.queues[0].add([{ address: at, length: 16 }, { address: at + 16, length: 16384 }], [{ address: at + 16400, length: 1 }])
    }
    if (guest.queues[0].kick()) guest.kicks[0].signal()
    // Stops at times from right after the kick until all requests are complete.
    reactor.timer(round / 10, () => reactor.stop())
    await run
    reactor.close()
    if (round % 2) driver.close()
    server.close()
    await Promise.race([server.closed, new Promise((resolve) => setTimeout(resolve, 5))])
    disk.close()
    file.close()
    if (!(round % 2)) driver.close()
    globalThis.gc()
  }
  rmSync(folder, { recursive: true })
  console.log('alive')
`

for (const { kind, skip } of KINDS) {
  test(`a server may be closed after its reactor, also with requests in flight: ${kind}`, { skip }, () => {
    const args = ['--expose-gc', '--input-type=module', '-e', program(kind)]
    const child = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })
    assert.equal(child.stderr, '')
    assert.equal(child.stdout, 'alive\n', `it ended with ${child.status ?? child.signal}`)
  })
}
