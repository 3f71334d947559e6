import { test } from 'node:test'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import type { Layout } from '../../../virtqueue/driver/queue-driver.ts'
import { BlockDevice } from './block.ts'
import { BlkStatus, BlkType, CONFIG_WRITEBACK } from './protocol.ts'
import { cut, header, pattern, segment } from './testing/driver-requests.ts'
import { HeldDisk } from './testing/held-disk.ts'

const SECTORS = 16
const LAYOUTS: readonly Layout[] = ['direct', 'indirect']

testDevice((host: HeldDisk = new HeldDisk(pattern(SECTORS * 512, 1))) => ({ device: new BlockDevice(host), host }), {
  test,
  traffic(guest, random) {
    const type = random.pick([
      BlkType.IN,
      BlkType.IN,
      BlkType.OUT,
      BlkType.OUT,
      BlkType.FLUSH,
      BlkType.WRITE_ZEROES,
      99,
    ])
    const sector = random.below(SECTORS + 1)
    const length = 512 * random.from(1, 2)
    const data = type === BlkType.OUT ? random.bytes(length) : new Uint8Array(0)
    const segments = type === BlkType.WRITE_ZEROES ? segment(sector, 1) : new Uint8Array(0)
    const cuts = [random.from(1, 600), random.from(1, 600)]
    const room = type === BlkType.IN ? length + 1 : 1
    guest.request(
      0,
      cut(Uint8Array.of(...header(type, sector), ...data, ...segments), cuts),
      cut(new Uint8Array(room), cuts).map((part) => part.length),
      {
        layout: random.pick(LAYOUTS),
        check: ({ bytes }) => {
          const status = bytes.at(-1)
          if (
            bytes.length === room &&
            status !== BlkStatus.OK &&
            status !== BlkStatus.IOERR &&
            status !== BlkStatus.UNSUPP
          )
            throw new Error(`status ${status}`)
        },
      },
    )
    if (random.oneIn(10)) guest.state.writeConfig(CONFIG_WRITEBACK, 1, random.below(2))
    // In their order, whenever that is: then the bytes that requests read do not depend on the time.
    for (let i = random.below(3); i > 0; i--) guest.host.release()
  },
  finish(disk) {
    while (disk.held.length > 0) disk.release()
  },
  observe: (disk) => disk.bytes,
})
