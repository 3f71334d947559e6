import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import { KINDS } from '../../host/linux/reactor/testing/kinds.ts'
import { runWith } from '../../host/linux/reactor/testing/run-with.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { IrqIndex } from './protocol.ts'
import { Client } from './testing/client.ts'
import { echoRig } from './testing/echo-rig.ts'
import { versionRequest, virtioFunction } from './testing/vfio-user-rig.ts'
import { serveVfioUser } from './vfio-user-server.ts'

const skip = ffiMissing() ?? false

for (const [name, features] of [
  ['split', 0n],
  ['packed', featureSet(Feature.RING_PACKED, Feature.EVENT_IDX)],
] as const) {
  test(`a driver behind vfio-user uses a device: ${name}`, { skip }, async () => {
    const rig = echoRig()
    await rig.start(features)
    for (let i = 0; i < 200; i++) assert.deepEqual(rig.echo(i % 2, [i, 2, 3]), [i, 2, 3])
    await rig.close()
    assert.equal(rig.closed, true)
  })
}

test('a queue signals its own vector only  @vfio-user DEVICE_SET_IRQS', { skip }, async () => {
  const rig = echoRig()
  const driver = rig.plug()
  const events = rig.listen(IrqIndex.MSIX, 3)
  driver.pci.configWrite(driver.capabilities.find(({ id }) => id === 0x11)?.at ?? 0, 4, 0x8000_0000)
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1)), true)
  driver.setUpQueue(0, 0, 1)
  driver.setUpQueue(1, 0, 2)
  driver.set('device_status', 15)
  assert.deepEqual(rig.echo(1, [1]), [1])
  rig.reactor.turn()
  assert.deepEqual(
    events.map((event) => event.drain()),
    [0, 0, 1],
  )
  await rig.close()
})

test('the device is reset when the client disconnects', { skip }, async () => {
  const device = new EchoDevice()
  const before = openDescriptors()
  const rig = echoRig(device)
  await rig.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.hangUp()
  assert.equal(device.session, undefined)
  assert.equal(rig.closed, true)
  await rig.close()
  assert.equal(openDescriptors(), before)
})

for (const { kind, skip } of KINDS) {
  test(`clients are served one after another over a socket: ${kind}`, { skip }, async (context) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'vfio-user-'))
    context.after(() => rmSync(folder, { recursive: true }))
    const before = openDescriptors()
    const socket = path.join(folder, 'echo.sock')
    const reactor = createReactor({ prefer: kind })
    const logged: string[] = []
    const log = (line: string) => logged.push(line)
    const server = serveVfioUser(virtioFunction(new EchoDevice(), log), UnixListener.listen(socket), reactor, { log })
    await runWith(reactor, async () => {
      for (let round = 0; round < 5; round++) {
        const client = new Client(UnixStream.connect(socket), () => {})
        client.send('VERSION', versionRequest())
        client.send('DMA_MAP', { argsz: 32, flags: 3, offset: 0, address: 0, size: 4096 })
        client.send('REGION_READ', { region: 7, offset: 0, count: 4 })
        client.send('DEVICE_RESET', undefined)
        for (const command of [1, 2, 9, 13]) {
          let answer = client.next()
          for (; !answer; answer = client.next()) await setTimeout(1)
          assert.deepEqual([answer.command, answer.error], [command, 0])
        }
        client.close()
      }
      server.close()
      await server.closed
    })
    reactor.close()
    assert.equal(openDescriptors(), before)
    assert.equal(logged.filter((line) => line === 'echo: client connected').length, 5)
  })
}
