/** Guest in QEMU on a TAP interface, in a separate network namespace. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import { bootGuest } from '../guest/guest.ts'
import { enterNamespace, ip, namespaceRefused } from '../net/namespace.ts'
import { scratchFolder, startDevice } from './device-program.ts'
import { qemuMissing } from './guest.ts'
import { GuestByHand } from './network-guest.ts'
import { checkBothWays, serveFile } from './network-server.ts'

const skip = qemuMissing ?? namespaceRefused() ?? false
if (skip === false) enterNamespace()
const HOST = '10.9.0.1'
const GUEST = '10.9.0.2'

/** Creates a TAP interface of the host, like an administrator. */
function makeInterface(name: string, ...flags: readonly string[]): void {
  ip('tuntap', 'add', 'dev', name, 'mode', 'tap', ...flags)
  ip('addr', 'add', `${HOST}/24`, 'dev', name)
  ip('link', 'set', name, 'up')
}

test('a guest on a TAP interface fetches and sends a file', { skip, timeout: 300_000 }, async () => {
  makeInterface('one0')
  const server = await serveFile(HOST)
  const guest = await bootGuest({ engine: 'qemu', network: { kind: 'tap', name: 'one0' } })
  const run = async (command: string) => (await guest.run(command)).stdout
  try {
    // There is no DHCP server here.
    await run(`ip addr add ${GUEST}/24 dev eth0`)
    await checkBothWays(run, HOST, server)
  } finally {
    await guest.stop()
    server.close()
    ip('link', 'del', 'one0')
  }
})

test('with two processors and two pairs of queues, the driver uses both pairs', {
  skip,
  timeout: 300_000,
}, async () => {
  makeInterface('two0', 'multi_queue')
  const socket = path.join(scratchFolder(), 'net.sock')
  const server = await serveFile(HOST)
  const device = await startDevice(['net', `--socket-path=${socket}`, '--tap=two0', '--queue-pairs=2'])
  const guest = new GuestByHand([
    ...['-smp', '2', '-chardev', `socket,id=net,path=${socket}`],
    ...['-netdev', 'vhost-user,id=net,chardev=net,queues=2', '-device', 'virtio-net-pci,netdev=net,mq=on'],
  ])
  const run = (command: string) => guest.run(command)
  try {
    assert.deepEqual((await run('ls /sys/class/net/eth0/queues')).trim().split(/\s+/), ['rx-0', 'rx-1', 'tx-0', 'tx-1'])
    assert.match(ip('-d', 'link', 'show', 'two0'), /multi_queue numqueues 2 numdisabled 0/)
    await run(`ip addr add ${GUEST}/24 dev eth0`)
    await checkBothWays(run, HOST, server)
    // Many parallel flows, from both processors.
    const fetch = `wget -q -O - http://${HOST}:${server.port}/ | sha256sum`
    const eight = await run(`for i in 1 2 3 4 5 6 7 8; do taskset -c $((i % 2)) sh -c '${fetch}' & done; wait`)
    assert.equal(eight.split(server.checksum).length - 1, 8, eight)
    // Each receive queue interrupted a processor.
    assert.equal(await run("awk '/-input/ { print ($2 + $3 > 0) }' /proc/interrupts"), '1\n1\n')
  } finally {
    await guest.stop()
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    server.close()
    ip('link', 'del', 'two0')
  }
})
