import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ALL_ENGINES, bootGuest, guestMissing } from './guest.ts'

for (const engine of ALL_ENGINES) {
  test(`${engine}: /dev/hwrng returns random bytes of the device  @virtio 5.4.6`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    try {
      const read = 'head -c 4096 /dev/hwrng | sha256sum'
      const first = await guest.run(`cat /sys/class/misc/hw_random/rng_current; ${read}`)
      const second = await guest.run(read)
      assert.equal(first.status, 0, first.stderr)
      const [source, digest] = first.stdout.split('\n')
      assert.match(source, /^virtio_rng/)
      assert.match(digest, /^[0-9a-f]{64} /)
      assert.notEqual(digest, second.stdout.trim())
      const { devices } = await guest.machine.inspect()
      const entropy = devices.find(({ id }) => id === 4)
      assert.ok(Number(entropy?.queues[0].pushed) > 0, 'the device had no request')
      assert.deepEqual(entropy?.status, ['ACKNOWLEDGE', 'DRIVER', 'DRIVER_OK', 'FEATURES_OK'])
    } finally {
      await guest.stop()
    }
  })
}
