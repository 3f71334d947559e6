/** Guest in QEMU with a network card behind passt, without root. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { bootGuest, guestMissing } from '../guest/guest.ts'
import { checkBothWays, serveFile } from './network-server.ts'

const noPasst = spawnSync('passt', ['--version']).error ? 'install passt' : false
/** Feature bit 40. */
const RING_RESET = 40
const ADDRESS = '10.77.0.2'
const GATEWAY = '10.77.0.1'
/** Network of passt, independent of the host's network. */
const NETWORK = `--address ${ADDRESS} --netmask 255.255.255.0 --gateway ${GATEWAY} --dns 10.77.0.3 --ipv4-only`

for (const engine of ['qemu', 'qemu over vfio-user'] as const) {
  test(`${engine}: a guest receives an address from passt, and fetches and sends a file`, {
    skip: guestMissing(engine) ?? noPasst,
    timeout: 300_000,
  }, async () => {
    const server = await serveFile('127.0.0.1')
    const guest = await bootGuest({ engine, network: { kind: 'passt', options: NETWORK } })
    const run = async (command: string) => (await guest.run(command)).stdout
    try {
      assert.match(
        await run('ip addr show dev eth0'),
        new RegExp(`link/ether 52:54:00:12:34:56 .*inet ${ADDRESS}/24 `, 's'),
      )
      assert.match(await run('ip route'), new RegExp(`^default via ${GATEWAY} dev eth0`, 'm'))
      assert.equal(await run('cat /etc/resolv.conf'), 'nameserver 10.77.0.3\n')
      await checkBothWays(run, GATEWAY, server)
      // RING_RESET is offered only if the reset reaches the device. @virtio 2.6.1
      const features = await run('cat /sys/class/net/eth0/device/features')
      assert.equal(features[RING_RESET], engine === 'qemu' ? '0' : '1', features)
      const { devices } = await guest.machine.inspect()
      const card = devices.find(({ name }) => name.startsWith('net '))
      assert.equal(card?.name, 'net 52:54:00:12:34:56')
    } finally {
      await guest.stop()
      server.close()
    }
  })
}
