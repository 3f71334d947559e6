import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scratchFolder } from './device-program.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'
import { startVfioUserDevices } from './vfio-user-devices.ts'

const skip = qemuMissing ?? vfioUserMissing ?? false
const folder = scratchFolder()

test('a guest uses a disk of two queues and an entropy device, each as a PCI device', { skip }, async () => {
  const devices = await startVfioUserDevices(folder, ['--queues=2'])
  const guest = await bootPortGuest({ folder, arguments: ['-smp', '2', ...devices.arguments] })
  try {
    await devices.check(guest)
    const interrupts = await guest.run('cat /proc/interrupts')
    for (const queue of ['req.0', 'req.1']) assert.match(interrupts, new RegExp(`PCI-MSIX.*virtio\\d+-${queue}$`, 'm'))
    assert.match(await guest.run('cat /sys/bus/pci/devices/*/vendor'), /0x1af4/)
  } finally {
    await guest.kill()
  }
  for (const device of devices.processes) {
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    assert.ok(device.log.some((line) => /client disconnected/.test(line)))
    assert.deepEqual(
      device.log.filter((line) => /refused|needs a reset|warning|error/.test(line)),
      [],
    )
  }
})
