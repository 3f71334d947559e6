import { test } from 'node:test'
import type { MemoryRelease } from '../../../services/memory-release.ts'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { TRAFFIC_PAGES } from '../../../virtio/testing/contract/test-guest.ts'
import { BalloonDevice } from './balloon.ts'

/** Host that checks that all ranges are guest memory. */
function checkingHost(): MemoryRelease {
  return {
    release({ count, regions, offsets, lengths, byteLength }) {
      for (let i = 0; i < count; i++) {
        if (offsets[i] + lengths[i] > regions[i].size) throw new Error('not guest memory')
      }
      return byteLength
    },
    inspect: () => ({}),
  }
}

const FIRST_PAGE = TRAFFIC_PAGES.address / 4096

testDevice((host: MemoryRelease = checkingHost()) => ({ device: new BalloonDevice(host), host }), {
  test,
  traffic(guest, random) {
    const pages = Uint32Array.from({ length: random.below(40) }, () => FIRST_PAGE + random.below(16))
    const bytes = new Uint8Array(pages.buffer)
    switch (random.below(4)) {
      case 0:
        return guest.request(0, [bytes])
      case 1:
        return guest.request(1, [bytes])
      case 2:
        if (guest.pending(2) > 0) return guest.device.requestStatistics()
        return guest.request(2, [Uint8Array.of(4, 0, random.below(256), 1, 0, 0, 0, 0, 0, 0)], [], { waits: true })
      default:
        return guest.request(3, [], [random.below(5000)])
    }
  },
})
