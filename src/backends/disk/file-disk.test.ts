import assert from 'node:assert/strict'
import { closeSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { BlockDevice } from '../../devices/virtio/block/block.ts'
import { BlkStatus, BlkType } from '../../devices/virtio/block/protocol.ts'
import { cut, header, pattern, segment, status } from '../../devices/virtio/block/testing/driver-requests.ts'
import { descriptorOf, isTmpfs, Scratch } from '../../host/node/testing/scratch.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { activateDevice } from '../../virtio/testing/device-rig.ts'
import { FileDisk } from './file-disk.ts'

const SECTORS = 128
const scratch = new Scratch()
const onLinux = process.platform === 'linux' ? false : 'needs the system calls of Linux'

function setUp(content: Uint8Array, options: { readOnly?: boolean; ring?: bigint; folder?: Scratch } = {}) {
  const path = (options.folder ?? scratch).image(content)
  const lines: string[] = []
  const disk = FileDisk.open(path, { readOnly: options.readOnly ?? false, log: (line) => lines.push(line) })
  const device = new BlockDevice(disk)
  const features = device.features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC) | (options.ring ?? 0n)
  const rig = activateDevice(device, { features, memorySize: 8 << 20 })
  const write = (sector: number, data: Uint8Array) => rig.request(0, [header(BlkType.OUT, sector), data], [1])
  const read = (sector: number, sectors: number) => rig.request(0, [header(BlkType.IN, sector)], [sectors * 512, 1])
  const flush = () => rig.request(0, [header(BlkType.FLUSH)], [1])
  const erase = (type: BlkType, ...segments: Uint8Array[]) => rig.request(0, [header(type), ...segments], [1])
  return { path, lines, disk, device, rig, write, read, flush, erase }
}

for (const [name, ring] of Object.entries({ split: 0n, packed: featureSet(Feature.RING_PACKED) })) {
  test(`random requests change the file as they change a model of it: ${name}`, async () => {
    const step = fc.record({
      type: fc.constantFrom(BlkType.IN, BlkType.OUT, BlkType.OUT, BlkType.FLUSH, BlkType.WRITE_ZEROES, BlkType.DISCARD),
      sector: fc.nat(SECTORS - 1),
      sectors: fc.integer({ min: 1, max: 12 }),
      parts: fc.array(fc.integer({ min: 1, max: 2000 }), { maxLength: 5 }),
      seed: fc.nat(255),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const model = pattern(SECTORS * 512, 1)
        const { rig, disk, path, lines } = setUp(model, { ring })
        for (const { type, sector, sectors, parts, seed } of steps) {
          const count = Math.min(sectors, SECTORS - sector)
          const start = sector * 512
          const length = count * 512
          const data = pattern(length, seed)
          let readable: Uint8Array[] = []
          if (type === BlkType.OUT) {
            readable = cut(data, parts)
            model.set(data, start)
          } else if (type === BlkType.WRITE_ZEROES || (type === BlkType.DISCARD && disk.canDiscard)) {
            model.fill(0, start, start + length)
          }
          if (type === BlkType.WRITE_ZEROES) readable = [segment(sector, count, seed & 1)]
          if (type === BlkType.DISCARD) readable = [segment(sector, count)]
          const lengths = cut(data, parts).map((part) => part.length)
          const writable = type === BlkType.IN ? [...lengths, 1] : [1]
          const reply = await rig.request(0, [header(type, sector), ...readable], writable, 'indirect')
          const offered = type !== BlkType.DISCARD || disk.canDiscard
          assert.equal(status(reply), offered ? BlkStatus.OK : BlkStatus.UNSUPP)
          if (type === BlkType.IN) assert.deepEqual(reply.bytes.slice(0, length), model.slice(start, start + length))
        }
        await disk.close()
        assert.deepEqual(new Uint8Array(readFileSync(path)), model)
        assert.deepEqual(lines, [])
      }),
      { numRuns: 25 },
    )
  })
}

test('a flush completes later, and several may be in flight', async () => {
  const { disk, rig, read, write } = setUp(new Uint8Array(8192))
  await write(0, pattern(512, 3))
  const flushes = [0, 1, 2].map(() => rig.submit(0, [header(BlkType.FLUSH)], [1]))
  assert.deepEqual(
    flushes.map((flush) => flush.reply),
    [undefined, undefined, undefined],
  )
  assert.equal(status(await read(0, 1)), BlkStatus.OK)
  for (const flush of flushes) assert.equal(status(await flush.replied), BlkStatus.OK)
  await disk.close()
})

test('closing waits for flushes in flight', async () => {
  const { disk, rig } = setUp(new Uint8Array(8192))
  const flush = rig.submit(0, [header(BlkType.FLUSH)], [1])
  await disk.close()
  assert.equal(status(await flush.replied), BlkStatus.OK)
  assert.equal(disk.close(), disk.close())
})

test('a closed disk fails every request', async () => {
  const { disk, read, flush, write, path } = setUp(new Uint8Array(8192))
  await disk.close()
  for (const reply of [await read(0, 1), await write(0, pattern(512, 1)), await flush()]) {
    assert.equal(status(reply), BlkStatus.IOERR)
  }
  assert.deepEqual(new Uint8Array(readFileSync(path)), new Uint8Array(8192))
})

test('a read-only image is never changed', async () => {
  const content = pattern(8192, 6)
  const { disk, read, write, flush, path } = setUp(content, { readOnly: true })
  assert.deepEqual((await read(3, 2)).parts[0], content.slice(3 * 512, 5 * 512))
  assert.equal(status(await write(0, new Uint8Array(512))), BlkStatus.IOERR)
  assert.equal(status(await flush()), BlkStatus.OK)
  await disk.close()
  assert.deepEqual(new Uint8Array(readFileSync(path)), content)
})

test('discarded and unmapped ranges are deallocated', { skip: onLinux }, async (t) => {
  const { disk, write, flush, erase, path, read } = setUp(new Uint8Array(1 << 20))
  if (!disk.canDiscard) {
    t.skip('the file system of the temporary folder cannot punch holes')
    return
  }
  await write(0, pattern(1 << 20, 1))
  await flush()
  const full = statSync(path).blocks
  assert.equal(status(await erase(BlkType.DISCARD, segment(0, 512), segment(1024, 256))), BlkStatus.OK)
  const discarded = statSync(path).blocks
  assert.ok(discarded <= full - 768, `${full} blocks, then ${discarded}`)
  assert.equal(status(await erase(BlkType.WRITE_ZEROES, segment(512, 512, 1))), BlkStatus.OK)
  const unmapped = statSync(path).blocks
  assert.ok(unmapped <= discarded - 512, `${discarded} blocks, then ${unmapped}`)
  assert.equal(statSync(path).size, 1 << 20)
  assert.deepEqual((await read(0, 1280)).parts[0], new Uint8Array(1280 * 512))
  await disk.close()
})

const shm = isTmpfs('/dev/shm') ? new Scratch('/dev/shm') : undefined
test('if the file system cannot zero ranges, zeroes are written, with one log line', {
  skip: shm ? onLinux : 'needs /dev/shm in memory, a file system that cannot zero ranges',
}, async () => {
  const { disk, write, erase, read, lines, path } = setUp(new Uint8Array(1 << 20), { ...(shm && { folder: shm }) })
  await write(0, pattern(1 << 20, 1))
  const before = statSync(path).blocks
  for (const sector of [1, 600]) {
    assert.equal(status(await erase(BlkType.WRITE_ZEROES, segment(sector, 300))), BlkStatus.OK)
    assert.deepEqual((await read(sector, 300)).parts[0], new Uint8Array(300 * 512))
  }
  assert.deepEqual((await read(0, 1)).parts[0], pattern(1 << 20, 1).slice(0, 512))
  assert.equal(statSync(path).blocks, before)
  assert.deepEqual(lines, [`${path}: zeroing ranges is not supported (EOPNOTSUPP)`])
  assert.equal(disk.inspect().zeroesWritten, 600 * 512)
  await disk.close()
})

test('a request past the end of a truncated file fails, with a log line', async () => {
  const { disk, read, lines, path } = setUp(pattern(8192, 2))
  truncateSync(path, 1000)
  assert.equal(status(await read(0, 1)), BlkStatus.OK)
  assert.equal(status(await read(1, 1)), BlkStatus.IOERR)
  assert.deepEqual(lines, [`${path}: read of 512 bytes at 512: the file became shorter`])
  await disk.close()
})

test('I/O errors fail requests, with a limited number of log lines', { skip: onLinux }, async () => {
  const { disk, read, write, erase, lines, path, device } = setUp(new Uint8Array(8192))
  closeSync(descriptorOf(path))
  assert.equal(status(await write(0, pattern(512, 1))), BlkStatus.IOERR)
  assert.equal(status(await erase(BlkType.WRITE_ZEROES, segment(0, 1))), BlkStatus.IOERR)
  assert.equal(lines[0], `${path}: write of 512 bytes at 0: EBADF`)
  assert.equal(device.inspect().lastError, 'write zeroes of 512 bytes at 0: EBADF')
  for (let i = 0; i < 50; i++) assert.equal(status(await read(0, 1)), BlkStatus.IOERR)
  assert.equal(lines.length, 20)
  assert.match(lines[19], /EBADF \(more lines like this are suppressed for a while\)$/)
  await assert.rejects(disk.close(), /data that the guest wrote may be lost/)
})

test('after a failed flush all later ones fail, and close throws', { skip: onLinux }, async () => {
  const { disk, write, flush, path, lines } = setUp(new Uint8Array(8192))
  await write(0, pattern(512, 1))
  const fd = descriptorOf(path)
  closeSync(fd)
  assert.equal(status(await flush()), BlkStatus.IOERR)
  // The descriptor works again, as after a temporary error of the medium.
  const again = FileDisk.open(path, { readOnly: true })
  assert.equal(descriptorOf(path), fd)
  assert.equal(status(await flush()), BlkStatus.IOERR)
  assert.equal(lines.length, 1)
  assert.match(lines[0], /flush: EBADF: data that the guest wrote may be lost, and all later flushes fail/)
  await assert.rejects(disk.close(), { name: 'DiskError' })
  await again.close().catch(() => {})
})
