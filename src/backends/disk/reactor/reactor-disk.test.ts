import assert from 'node:assert/strict'
import { openSync, readFileSync, statSync, truncateSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { pattern } from '../../../devices/virtio/block/testing/driver-requests.ts'
import { createReactor } from '../../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { KINDS } from '../../../host/linux/reactor/testing/kinds.ts'
import { mappedMemory } from '../../../host/linux/reactor/testing/mapped-memory.ts'
import { runWith } from '../../../host/linux/reactor/testing/run-with.ts'
import { isTmpfs, Scratch } from '../../../host/node/testing/scratch.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { type Disk, DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { DiskFile, type DiskFileOptions } from './disk-file.ts'
import { ReactorDisk } from './reactor-disk.ts'

const SECTORS = 256
const scratch = new Scratch()
const shm = isTmpfs('/dev/shm') ? new Scratch('/dev/shm') : undefined
const guest = mappedMemory(4 << 20)

interface Spans {
  readonly region?: MemoryRegion
  /** Lengths of consecutive pieces of memory from `start`. */
  readonly cuts: readonly number[]
  readonly start?: number
}

/** Sends a request to a disk. @returns its error, if it fails */
function send(
  disk: Disk,
  op: DiskOp,
  offset = 0,
  length = 0,
  spans: Spans = { cuts: [] },
): Promise<string | undefined> {
  const data = new SpanList()
  let at = spans.start ?? 0
  for (const cut of spans.cuts) {
    data.add(spans.region ?? guest.region, at, cut)
    at += cut
  }
  return new Promise((complete) => {
    const request: DiskRequest = { op, offset, length, mayUnmap: (offset & 512) === 0, data, complete }
    disk.submit(request)
  })
}

async function withDisk(
  kind: Reactor['kind'],
  content: Uint8Array,
  options: DiskFileOptions & { folder?: Scratch },
  body: (disk: ReactorDisk, file: DiskFile, lines: string[], reactor: Reactor) => Promise<void>,
): Promise<string> {
  const path = (options.folder ?? scratch).image(content)
  const lines: string[] = []
  const log = (line: string) => lines.push(line)
  const file = DiskFile.open(path, { log, ...options })
  const reactor = createReactor({ prefer: kind })
  const disk = new ReactorDisk(file.shared, reactor, log)
  try {
    await runWith(reactor, () => body(disk, file, lines, reactor))
  } finally {
    reactor.close()
  }
  return path
}

/** Reason to skip if the temporary folder's file system does not support direct I/O. */
const noDirect = (() => {
  try {
    DiskFile.open(scratch.image(new Uint8Array(4096)), { direct: true, readOnly: true }).close()
    return false
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
})()

for (const { kind, skip } of KINDS) {
  for (const direct of [false, true]) {
    const name = `${kind}${direct ? ', direct' : ''}`
    test(`random requests change the file as they change a model of it: ${name}`, {
      skip: skip || (direct && noDirect),
    }, async () => {
      const step = fc.record({
        op: fc.constantFrom(DiskOp.READ, DiskOp.WRITE, DiskOp.WRITE, DiskOp.FLUSH, DiskOp.WRITE_ZEROES, DiskOp.DISCARD),
        sector: fc.nat(SECTORS - 1),
        sectors: fc.integer({ min: 1, max: 24 }),
        cuts: fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 5 }),
        start: fc.oneof(fc.constant(0), fc.nat(5000)),
        mapped: fc.integer({ min: 0, max: 4 }),
        seed: fc.nat(255),
      })
      const plain = MemoryRegion.over(0, new Uint8Array(65536))
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
          const model = pattern(SECTORS * 512, 1)
          const path = await withDisk(kind, model, { direct }, async (disk, file, lines) => {
            for (const { op, sector, sectors, cuts, start, mapped, seed } of steps) {
              const length = op === DiskOp.FLUSH ? 0 : Math.min(sectors, SECTORS - sector) * 512
              const offset = op === DiskOp.FLUSH ? 0 : sector * 512
              const region = mapped === 0 ? plain : guest.region
              const memory = region.u8.subarray(start, start + length)
              const moves = op === DiskOp.READ || op === DiskOp.WRITE
              if (moves) memory.set(pattern(length, seed))
              if (op === DiskOp.WRITE) model.set(memory, offset)
              if (op === DiskOp.WRITE_ZEROES || (op === DiskOp.DISCARD && disk.canDiscard)) {
                model.fill(0, offset, offset + length)
              }
              const spans = { region, start, cuts: moves ? cutUp(length, cuts) : [] }
              assert.equal(await send(disk, op, offset, length, spans), undefined)
              if (op === DiskOp.READ) assert.deepEqual(memory, model.subarray(offset, offset + length))
            }
            assert.deepEqual(lines, direct ? lines.filter((line) => line.includes('direct I/O requires')) : [])
            disk.close()
            file.close()
          })
          assert.deepEqual(new Uint8Array(readFileSync(path)), model)
        }),
        { numRuns: 25 },
      )
    })
  }

  test(`many requests are in flight at once: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(SECTORS * 512, 4), {}, async (disk, file) => {
      const writes = Array.from({ length: 128 }, (_, i) => {
        guest.region.u8.fill(i, i * 512, i * 512 + 512)
        return send(disk, DiskOp.WRITE, i * 1024, 512, { start: i * 512, cuts: [512] })
      })
      const flush = send(disk, DiskOp.FLUSH)
      assert.deepEqual(new Set(await Promise.all([...writes, flush])), new Set([undefined]))
      await send(disk, DiskOp.READ, 0, SECTORS * 512, { start: 1 << 20, cuts: [SECTORS * 512] })
      for (let i = 0; i < 128; i++) assert.equal(guest.region.u8[(1 << 20) + i * 1024], i)
      disk.close()
      file.close()
    })
  })

  test(`requests whose memory is not mapped are executed and counted: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(4096, 2), {}, async (disk, file) => {
      const region = MemoryRegion.over(0, new Uint8Array(4096))
      assert.equal(await send(disk, DiskOp.READ, 512, 1024, { region, cuts: [1000, 24] }), undefined)
      assert.deepEqual(region.u8.slice(0, 1024), pattern(4096, 2).slice(512, 1536))
      assert.equal(disk.inspect().unmapped, 1)
      disk.close()
      file.close()
    })
  })

  test(`unaligned requests use the page cache, are coherent with direct I/O, and counted: ${kind}`, {
    skip: skip || noDirect,
  }, async () => {
    await withDisk(kind, new Uint8Array(65536), { direct: true }, async (disk, file) => {
      const whole = { cuts: [65536] }
      guest.region.u8.set(pattern(65536, 5))
      assert.equal(await send(disk, DiskOp.WRITE, 0, 65536, whole), undefined)
      assert.equal(disk.inspect().unaligned, 0)
      guest.region.u8.set(pattern(1024, 6), 100_001)
      // Unaligned in memory, in three pieces.
      const odd = { start: 100_001, cuts: [1, 1022, 1] }
      assert.equal(await send(disk, DiskOp.WRITE, 8192, 1024, odd), undefined)
      assert.equal(disk.inspect().unaligned, 1)
      assert.equal(await send(disk, DiskOp.READ, 0, 65536, whole), undefined)
      assert.equal(disk.inspect().unaligned, 1)
      const expected = pattern(65536, 5)
      expected.set(pattern(1024, 6), 8192)
      assert.deepEqual(guest.region.u8.slice(0, 65536), expected)
      disk.close()
      file.close()
    })
  })

  test(`requests smaller than the blocks of direct I/O succeed, counted, with one log line: ${kind}`, {
    skip: skip || (shm ? false : 'needs /dev/shm on tmpfs, which does not report the alignment for direct I/O'),
  }, async () => {
    const content = pattern(65536, 5)
    const options = { direct: true, ...(shm && { folder: shm }) }
    const path = await withDisk(kind, content, options, async (disk, file, lines) => {
      guest.region.u8.set(pattern(512, 6))
      assert.equal(await send(disk, DiskOp.WRITE, 1536, 512, { cuts: [512] }), undefined)
      assert.equal(await send(disk, DiskOp.READ, 1024, 1536, { cuts: [1536] }), undefined)
      content.set(pattern(512, 6), 1536)
      assert.deepEqual(guest.region.u8.slice(0, 1536), content.slice(1024, 2560))
      assert.equal(await send(disk, DiskOp.READ, 0, 4096, { cuts: [4096] }), undefined)
      assert.equal(disk.inspect().unaligned, 2)
      assert.equal(lines.length, 1)
      assert.match(lines[0], /direct I\/O requires multiples of 4096 bytes.*page cache$/)
      disk.close()
      file.close()
    })
    assert.deepEqual(new Uint8Array(readFileSync(path)), content)
  })

  test(`a request past the end of a truncated file fails: ${kind}`, { skip }, async () => {
    const path = await withDisk(kind, pattern(8192, 3), {}, async (disk, file, lines) => {
      truncateSync(file.shared.path, 4096)
      assert.equal(await send(disk, DiskOp.READ, 0, 4096, { cuts: [4096] }), undefined)
      const failure = 'read of 1024 bytes at 3584: the file became shorter'
      assert.equal(await send(disk, DiskOp.READ, 3584, 1024, { cuts: [1024] }), failure)
      assert.deepEqual(lines, [`${file.shared.path}: ${failure}`])
      disk.close()
      file.close()
    })
    assert.equal(statSync(path).size, 4096)
  })

  test(`a write to a full disk fails, and requests of other disks succeed: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(8192, 3), {}, async (disk, file, lines, reactor) => {
      const shared = { ...file.shared, fd: openSync('/dev/full', 'r+'), path: '/dev/full' }
      const full = new ReactorDisk(shared, reactor, (line) => lines.push(line))
      const failure = 'write of 512 bytes at 0: ENOSPC'
      assert.equal(await send(full, DiskOp.WRITE, 0, 512, { cuts: [512] }), failure)
      assert.deepEqual(lines, [`/dev/full: ${failure}`])
      assert.equal(await send(disk, DiskOp.WRITE, 0, 512, { cuts: [512] }), undefined)
      disk.close()
      file.close()
    })
  })

  test(`after a failed flush all later ones fail, for every disk that shares the file: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(8192, 3), {}, async (disk, file, lines, reactor) => {
      // This descriptor cannot be flushed.
      const fd = openSync('/dev/null', 'r+')
      const broken = new ReactorDisk({ ...file.shared, fd }, reactor, (line) => lines.push(line))
      assert.match((await send(broken, DiskOp.FLUSH)) ?? '', /^flush: EINVAL$/)
      assert.equal(lines.length, 1)
      assert.match(lines[0], /data that the guest wrote may be lost, and all later flushes fail/)
      assert.equal(await send(disk, DiskOp.FLUSH), 'flush: EINVAL')
      assert.throws(() => disk.close(), { name: 'DiskError' })
      assert.throws(() => file.close(), { name: 'DiskError' })
    })
  })

  test(`discarded and unmapped ranges are deallocated: ${kind}`, { skip }, async (t) => {
    await withDisk(kind, pattern(1 << 20, 1), {}, async (disk, file) => {
      if (!disk.canDiscard) {
        t.skip('the file system of the temporary folder cannot punch holes')
        return
      }
      await send(disk, DiskOp.FLUSH)
      const full = statSync(file.shared.path).blocks
      assert.equal(await send(disk, DiskOp.DISCARD, 0, 1 << 19), undefined)
      assert.ok(statSync(file.shared.path).blocks <= full - 1024)
      disk.close()
      file.close()
    })
  })

  test(`if the file system cannot zero ranges, zeroes are written, with one log line: ${kind}`, {
    skip: skip || (shm ? false : 'needs /dev/shm in memory, a file system that cannot zero ranges'),
  }, async () => {
    const content = pattern(3 << 20, 1)
    const path = await withDisk(kind, content, { ...(shm && { folder: shm }) }, async (disk, file, lines) => {
      for (const offset of [512, (1 << 20) + 512]) {
        assert.equal(await send(disk, DiskOp.WRITE_ZEROES, offset, (1 << 20) - 512), undefined)
        content.fill(0, offset, offset + (1 << 20) - 512)
      }
      assert.equal(disk.inspect().zeroesWritten, 2 * ((1 << 20) - 512))
      assert.deepEqual(lines, [`${file.shared.path}: zeroing ranges is not supported (EOPNOTSUPP)`])
      disk.close()
      file.close()
    })
    assert.deepEqual(new Uint8Array(readFileSync(path)), content)
  })

  test(`refreshSize makes the disks of a grown file larger: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(8192, 3), {}, async (disk, file) => {
      assert.equal(file.refreshSize(), false)
      truncateSync(file.shared.path, 16384 + 100)
      assert.equal(disk.byteLength, 8192)
      assert.equal(file.refreshSize(), true)
      assert.equal(disk.byteLength, 16384)
      disk.close()
      file.close()
    })
  })

  test(`a closed disk fails every request: ${kind}`, { skip }, async () => {
    await withDisk(kind, pattern(8192, 3), { readOnly: true }, async (disk, file) => {
      assert.equal(await send(disk, DiskOp.FLUSH), undefined)
      disk.close()
      assert.equal(await send(disk, DiskOp.READ, 0, 512, { cuts: [512] }), 'the disk is closed')
      disk.close()
      file.close()
      file.close()
    })
  })
}

/** Splits `length` into lengths at the positions `cuts`. */
function cutUp(length: number, cuts: readonly number[]): number[] {
  const lengths: number[] = []
  let left = length
  for (const cut of cuts) {
    if (cut >= left) break
    lengths.push(cut)
    left -= cut
  }
  return [...lengths, left]
}
