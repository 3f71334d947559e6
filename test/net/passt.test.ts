/** passt with a driver, and with a Linux station behind two of our devices, in a separate network namespace. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { test } from 'node:test'
import { PasstPort } from '../../src/backends/net/passt-port.ts'
import { PasstProcess } from '../../src/backends/net/passt-process.ts'
import { TapPort } from '../../src/backends/net/tap-port.ts'
import { NetDevice } from '../../src/devices/virtio/net/net.ts'
import { header } from '../../src/devices/virtio/net/testing/net-driver.ts'
import { createReactor } from '../../src/host/linux/reactor/create-reactor.ts'
import { KINDS } from '../../src/host/linux/reactor/testing/kinds.ts'
import { runWith } from '../../src/host/linux/reactor/testing/run-with.ts'
import { bridge } from './bridge.ts'
import { arpAnswer, arpRequest, type Station } from './frames.ts'
import { Guest, until } from './guest.ts'
import { ip, namespaceRefused } from './namespace.ts'

const GUEST: Station = { mac: '52:54:00:12:34:56', ip: '10.77.0.2' }
const GATEWAY = '10.77.0.1'
/** Network of passt, independent of the host's network. */
const NETWORK = ['--address', GUEST.ip, '--netmask', '255.255.255.0', '--gateway', GATEWAY, '--ipv4-only']
const FILE_BYTES = 4 << 20

const skipPasst = spawnSync('passt', ['--version']).error ? 'install passt' : false
const skipStation = skipPasst || (namespaceRefused() ?? false)

for (const { kind, skip } of KINDS) {
  test(`passt answers requests of the driver: ${kind}`, { skip: skip || skipPasst, timeout: 60_000 }, async () => {
    const passt = await PasstProcess.start({ options: NETWORK })
    const reactor = createReactor({ prefer: kind })
    const port = PasstPort.connect({ path: passt.path }, reactor)
    try {
      await runWith(reactor, async () => {
        const guest = new Guest(new NetDevice(port, { mac: GUEST.mac }))
        guest.take()
        guest.driver.send(arpRequest(GUEST, GATEWAY), header())
        await until(() =>
          guest
            .take()
            .map((packet) => arpAnswer(packet.frame, GATEWAY))
            .find(Boolean),
        )
      })
    } finally {
      port.close()
      passt.stop()
      reactor.close()
    }
  })

  test(`a Linux station fetches a file from the host through passt: ${kind}`, {
    skip: skip || skipStation,
    timeout: 120_000,
  }, async () => {
    const file = randomBytes(FILE_BYTES)
    const server = createServer((_request, response) => response.end(file)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const passt = await PasstProcess.start({ options: NETWORK })
    const reactor = createReactor({ prefer: kind })
    const port = PasstPort.connect({ path: passt.path }, reactor)
    const far = TapPort.open({ name: 'obtest%d' }, reactor)
    const script = path.join(import.meta.dirname, 'fetch-station.js')
    const url = `http://${GATEWAY}:${(server.address() as AddressInfo).port}/`
    const words = ['--net', process.execPath, script, far.name, GUEST.mac, `${GUEST.ip}/24`, GATEWAY, url]
    const station = spawn('unshare', words, { stdio: ['pipe', 'pipe', 'inherit'] })
    try {
      await runWith(reactor, async () => {
        await once(station.stdout, 'data')
        ip('link', 'set', far.name, 'netns', String(station.pid))
        const bridged = bridge([new NetDevice(port), new NetDevice(far)], reactor)
        station.stdin.write('go\n')
        const [said] = await once(station.stdout, 'data')
        bridged.close()
        assert.equal(String(said).trim(), `${FILE_BYTES} ${createHash('sha256').update(file).digest('hex')}`)
      })
    } finally {
      station.stdin.end()
      station.kill()
      port.close()
      far.close()
      passt.stop()
      reactor.close()
      server.close()
      server.closeAllConnections()
    }
  })
}

test('the error about a passt that cannot start has its reason, and nothing stays open', {
  skip: skipPasst,
}, async () => {
  await assert.rejects(PasstProcess.start({ options: ['--no-such-option'] }), {
    name: 'NetworkPortError',
    message: /^passt exited \(1\): .*no-such-option/,
  })
  const passt = await PasstProcess.start({ options: NETWORK })
  passt.stop()
  assert.ok(!existsSync(path.dirname(passt.path)))
})
