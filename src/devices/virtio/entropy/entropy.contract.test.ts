import { test } from 'node:test'
import type { RandomSource } from '../../../services/random-source.ts'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { EntropyDevice } from './entropy.ts'

/** Source of counted bytes: the state of a source is the host's. */
function countingSource() {
  let count = 0
  return {
    fill(bytes: Uint8Array): void {
      for (let i = 0; i < bytes.length; i++) bytes[i] = count++
    },
  }
}

testDevice((host: RandomSource = countingSource()) => ({ device: new EntropyDevice(host), host }), {
  test,
  traffic(guest, random) {
    const length = random.below(300)
    guest.request(0, [], [length, random.below(50)], {
      check: ({ written, bytes }) => {
        if (written < length) throw new Error(`${written} bytes instead of ${length}`)
        if (bytes.some((byte, i) => i > 0 && byte !== ((bytes[i - 1] + 1) & 0xff))) throw new Error('bytes are missing')
      },
    })
  },
})
