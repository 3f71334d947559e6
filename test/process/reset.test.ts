import assert from 'node:assert/strict'
import { truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startDriver, VfioUserGuest } from '../../bench/transport-vfio-user.ts'
import { BlkType } from '../../src/devices/virtio/block/protocol.ts'
import { UnixStream } from '../../src/host/linux/unix-stream.ts'
import { Feature, featureSet } from '../../src/virtio/feature.ts'
import type { QueueDriver } from '../../src/virtqueue/driver/index.ts'
import { scratchFolder, startDevice } from '../qemu/device-program.ts'
import { PROCESS_KINDS } from './reactor-kinds.ts'

const folder = scratchFolder()
const disk = path.join(folder, 'disk.img')
writeFileSync(disk, '')
truncateSync(disk, 64 << 20)

/** Time-out of a reset, longer than any host needs. */
const DEADLINE_MS = 20_000
/** Polling interval of the driver, long enough that the device must progress without notifications. */
const FIRST_LOOK_MS = 20
const BETWEEN_LOOKS_MS = 1000
const HEADER_BYTES = 16
const SECTORS_READ = 8

for (const { kind, skip, environment } of PROCESS_KINDS) {
  test(`a reset with requests in flight ends while the driver sleeps: ${kind}  @virtio 2.4, 2.6.1`, {
    skip,
  }, async () => {
    const socket = path.join(folder, `${kind}.sock`)
    const args = ['block', '--transport=vfio-user', `--socket-path=${socket}`, `--blk-file=${disk}`]
    const device = await startDevice(args, environment)
    after(() => device.child.kill('SIGKILL'))
    assert.ok(device.log.join('\n').includes(`ready, on ${kind}`), device.log.join('\n'))
    const guest = new VfioUserGuest(UnixStream.connect(socket))
    for (const field of ['device_status', 'queue_reset'] as const) {
      for (const { type, count } of [
        { type: BlkType.FLUSH, count: 1 },
        { type: BlkType.IN, count: 20 },
      ]) {
        const { driver } = await startDriver(guest.remote, guest.allocator, featureSet(Feature.RING_RESET))
        for (let i = 0; i < count; i++) add(guest, driver.queues[0], type, i * SECTORS_READ)
        driver.queues[0].kick()
        driver.notify(0)
        driver.set('queue_select', 0)
        driver.set(field, field === 'device_status' ? 0 : 1)
        const deadline = Date.now() + DEADLINE_MS
        await sleep(FIRST_LOOK_MS)
        let value = driver.get(field)
        for (; value !== 0 && Date.now() < deadline; value = driver.get(field)) await sleep(BETWEEN_LOOKS_MS)
        assert.equal(value, 0, `${field}, with ${count} requests of type ${type}`)
      }
    }
    guest.close()
    assert.equal(await device.stop(), 0, device.log.join('\n'))
  })
}

function add(guest: VfioUserGuest, queue: QueueDriver, type: number, sector: number): void {
  const { allocator } = guest
  const data = type === BlkType.IN ? SECTORS_READ * 512 : 0
  const header = allocator.allocate(HEADER_BYTES + data + 1)
  const view = new DataView(allocator.region.u8.buffer, allocator.region.u8.byteOffset)
  view.setUint32(header, type, true)
  view.setUint32(header + 4, 0, true)
  view.setBigUint64(header + 8, BigInt(sector), true)
  const added = queue.add(
    [{ address: header, length: HEADER_BYTES }],
    [{ address: header + HEADER_BYTES, length: data + 1 }],
  )
  assert.ok(added >= 0, 'the queue is full')
}
