import { test } from 'node:test'
import type { PersistentFile } from '../../../services/persistent-file.ts'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { PmemDevice } from './pmem.ts'

/** File whose flushes end when the test has the host finish. */
function slowFile(): PersistentFile & { finish(): void } {
  const flushes: ((durable: boolean) => void)[] = []
  return {
    size: 2 << 20,
    backing: { fd: -1, offset: 0 },
    flush: (done) => flushes.push(done),
    inspect: () => ({}),
    finish() {
      for (const done of flushes.splice(0)) done(true)
    },
  }
}

testDevice((host: ReturnType<typeof slowFile> = slowFile()) => ({ device: new PmemDevice(host), host }), {
  test,
  traffic(guest, random) {
    const type = random.oneIn(5) ? random.below(256) : 0
    if (random.oneIn(4)) guest.host.finish()
    guest.request(0, [Uint8Array.of(type, 0, 0, 0).subarray(0, random.oneIn(8) ? 3 : 4)], [random.oneIn(8) ? 3 : 4])
  },
  finish: (host) => host.finish(),
})
