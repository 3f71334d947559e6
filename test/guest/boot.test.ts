import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALL_ENGINES, bootGuest, ENGINES, guestMissing } from './guest.ts'

/** Number of boots; each starts seven processes with QEMU. */
const BOOTS = { v86: 4, qemu: 3, 'qemu over vfio-user': 1 } as const

for (const engine of ALL_ENGINES) {
  test(`${engine}: a guest boots several times, and finds all its devices each time`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    for (let boot = 1; boot <= BOOTS[engine]; boot++) {
      const guest = await bootGuest({ engine, cold: true })
      try {
        const found = await guest.run('ls /dev/hwrng /dev/fb0 /dev/input/event* && ls /sys/bus/virtio/devices | wc -l')
        assert.equal(found.status, 0, `boot ${boot}: ${found.stderr}`)
        const { devices } = await guest.machine.inspect()
        for (const device of devices) {
          assert.ok(device.status.includes('DRIVER_OK'), `boot ${boot}: ${device.name} is ${device.status.join(', ')}`)
        }
        assert.equal(Number(found.stdout.trim().split('\n').at(-1)), devices.length, `boot ${boot}`)
      } finally {
        await guest.stop()
      }
    }
  })
}

for (const engine of ENGINES) {
  test(`${engine}: power off and panic of a guest are reported with their reasons`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    for (const [command, kind] of [
      ['poweroff -f', 'power-off'],
      ['echo c > /proc/sysrq-trigger', 'panic'],
    ] as const) {
      const guest = await bootGuest({ engine })
      try {
        const stopped = new Promise<string>((resolve) =>
          guest.machine.listen({ stopped: (reason) => resolve(reason.kind) }),
        )
        await assert.rejects(guest.run(command), /the command did not end/)
        assert.equal(await stopped, kind)
      } finally {
        await guest.stop()
      }
    }
  })
}
