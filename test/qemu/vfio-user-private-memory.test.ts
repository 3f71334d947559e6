import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scratchFolder } from './device-program.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'
import { startVfioUserDevices } from './vfio-user-devices.ts'

const skip = qemuMissing ?? vfioUserMissing ?? false
const folder = scratchFolder()

test('a guest with private memory uses a disk and an entropy device by messages', { skip }, async () => {
  const devices = await startVfioUserDevices(folder)
  const guest = await bootPortGuest({ folder, privateMemory: true, arguments: devices.arguments })
  try {
    await devices.check(guest)
  } finally {
    await guest.kill()
  }
  for (const device of devices.processes) {
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    assert.equal(device.log.filter((line) => /shares no memory/.test(line)).length, 1)
    assert.deepEqual(
      device.log.filter((line) => /refused|needs a reset|warning|error|cannot/.test(line)),
      [],
    )
  }
})
