import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { ftruncateSync, readdirSync, readSync } from 'node:fs'
import { test } from 'node:test'
import { GuestMemory } from '../../memory/guest-memory.ts'
import { SpanList } from '../../memory/span-list.ts'
import { Descriptor } from './descriptor.ts'
import { ffiMissing } from './ffi.ts'
import { MappedRegion, Mapping } from './mapping.ts'
import { MemoryFile, Seal } from './memory-file.ts'
import { dup, memfdCreate } from './posix.ts'

const skip = ffiMissing() ?? false
const GIB = 1 << 30
const duplicate = (fd: number) => dup('a test', fd)

test('a memory file has the requested size, and cannot be shrunk or grown', { skip }, () => {
  const file = MemoryFile.create('a test', 65536)
  assert.equal(file.size, 65536)
  assert.equal(file.seals, Seal.SHRINK | Seal.GROW)
  assert.throws(() => ftruncateSync(file.descriptor.fd, 4096), { code: 'EPERM' })
  assert.throws(() => ftruncateSync(file.descriptor.fd, 1 << 20), { code: 'EPERM' })
  file.close()
})

test('writes to a mapping reach the file, and writes to the file reach the mapping', { skip }, () => {
  const file = MemoryFile.create('a test', 65536 * 3)
  const mapping = Mapping.of(file.descriptor, { offset: 65536 + 8, length: 5000 })
  mapping.bytes.set([1, 2, 3], 100)
  const bytes = new Uint8Array(3)
  readSync(file.descriptor.fd, bytes, 0, 3, 65536 + 8 + 100)
  assert.deepEqual([...bytes], [1, 2, 3])
  assert.equal(mapping.length, 5000)
  assert.equal(mapping.mayShrink, undefined)
  mapping.close()
  assert.ok(file.descriptor.closed)
})

test('writes to a private mapping reach neither the file nor other mappings', { skip }, () => {
  const file = MemoryFile.create('a test', 65536)
  const other = Mapping.of(new Descriptor(duplicate(file.descriptor.fd), 'the same'), { offset: 0, length: 65536 })
  const mapping = Mapping.of(file.descriptor, { offset: 4096, length: 4096, private: true })
  other.bytes[4096] = 7
  assert.equal(mapping.bytes[0], 7)
  mapping.bytes[1] = 9
  assert.equal(other.bytes[4097], 0)
  mapping.close()
  other.close()
})

test('regions of a part of a mapping have the addresses and file offsets of that part', { skip }, () => {
  const size = 2 * GIB + 65536
  const mapping = Mapping.of(MemoryFile.create('a test', size).descriptor, { offset: 4096, length: size - 8192 })
  for (const [start, length] of [
    [0, size - 8192],
    [4096, 4096],
    [GIB - 8192, 16384],
    [2 * GIB, 4096],
    [GIB - 4096, 4096],
  ]) {
    const regions = mapping.regions(1 << 20, start, length)
    let at = start
    for (const region of regions) {
      assert.equal(region.base, (1 << 20) + at - start)
      assert.equal(region.address, mapping.address + at)
      assert.equal(region.backing?.offset, 4096 + at)
      at += region.size
    }
    assert.equal(at, start + length)
  }
  mapping.close()
})

test('a mapping of more than 1 GiB has several adjacent regions, each with its own address', { skip }, () => {
  const size = 2 * GIB + 65536
  const file = MemoryFile.create('a test', size)
  const mapping = Mapping.of(file.descriptor, { offset: 4096, length: size - 8192 })
  const regions = mapping.regions(0x1_0000_0000)
  assert.deepEqual(
    regions.map(({ size: bytes }) => bytes),
    [GIB - 4096, GIB, 65536 - 4096],
  )
  assert.throws(() => mapping.bytes, /exceed the limit of one view/)
  const memory = new GuestMemory(regions)
  const spans = new SpanList()
  assert.ok(memory.translate(0x1_0000_0000 + GIB - 4096 - 2, 4, spans))
  assert.equal(spans.count, 2)
  spans.regions[0].u8[spans.offsets[0]] = 7
  spans.regions[1].u8[spans.offsets[1]] = 8
  const bytes = new Uint8Array(4)
  readSync(file.descriptor.fd, bytes, 0, 4, GIB - 2)
  assert.deepEqual([...bytes], [7, 0, 8, 0])
  const last = regions[2]
  assert.ok(last instanceof MappedRegion)
  assert.equal(last.address, mapping.address + 2 * GIB - 4096)
  assert.deepEqual(last.backing, { fd: file.descriptor.fd, offset: 2 * GIB })
  mapping.close()
})

test('a range past the end of the file is refused, and the descriptor is closed', { skip }, () => {
  const count = () => readdirSync('/proc/self/fd').length
  const before = count()
  for (const range of [
    { offset: 0, length: 65537 },
    { offset: 4096, length: 65536 },
    { offset: 0, length: 0 },
    { offset: -4, length: 4 },
    { offset: 2, length: 4 },
    { offset: Number.NaN, length: 4 },
    { offset: 0, length: 2 ** 60 },
  ]) {
    const file = MemoryFile.create('a test', 65536)
    assert.throws(() => Mapping.of(file.descriptor, range), RangeError)
  }
  assert.equal(count(), before)
})

test('views of a closed mapping read as zeroes and can be written', { skip }, () => {
  const file = MemoryFile.create('a test', 65536)
  const mapping = Mapping.of(file.descriptor, { offset: 0, length: 65536 })
  const [region] = mapping.regions(0)
  const view = region.u8
  view[5] = 5
  mapping.close()
  mapping.close()
  assert.equal(view[5], 0)
  view[5] = 6
  assert.equal(region.u8[5], 6)
})

test('a mapping that is not accessed takes no time and no addresses, whatever its length', { skip }, () => {
  // Together, these mappings would take twice the address space.
  for (let round = 0; round < 16; round++) {
    const file = MemoryFile.create('a test', 2 ** 44)
    const mapping = Mapping.of(file.descriptor, { offset: 0, length: 2 ** 44 })
    const regions = mapping.regions(0)
    assert.equal(regions.length, 2 ** 14)
    mapping.close()
    // The first access after `close` finds zeroes.
    if (round === 0) assert.deepEqual([...regions[2 ** 14 - 1].u8.subarray(-2)], [0, 0])
  }
})

test('mayShrink is the reason why a file may shrink', { skip }, async () => {
  const { Descriptor } = await import('./descriptor.ts')
  const descriptor = new Descriptor(memfdCreate('a test', Uint8Array.of(0x78, 0), 3), 'guest memory')
  ftruncateSync(descriptor.fd, 65536)
  const mapping = Mapping.of(descriptor, { offset: 0, length: 65536 })
  assert.equal(mapping.mayShrink, 'guest memory is not sealed: processes that share it can shrink it')
  mapping.close()
})

test('access past the end of a shrunk file ends only the accessing process', { skip }, () => {
  const url = (name: string) => JSON.stringify(new URL(name, import.meta.url))
  const source = `
    import { ftruncateSync, writeSync } from 'node:fs'
    import { Descriptor } from ${url('descriptor.js')}
    import { Mapping } from ${url('mapping.js')}
    import { memfdCreate } from ${url('posix.js')}
    const fd = memfdCreate('a test', Uint8Array.of(0x78, 0), 0)
    ftruncateSync(fd, 65536)
    const mapping = Mapping.of(new Descriptor(fd, 'memory'), { offset: 0, length: 65536 })
    mapping.bytes[0] = 1
    ftruncateSync(fd, 0)
    writeSync(1, 'shrunk')
    mapping.bytes[0] = 2
    writeSync(1, 'still here')
  `
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', source], { encoding: 'utf8' })
  assert.equal(child.stdout, 'shrunk')
  assert.equal(child.signal, 'SIGBUS')
})

test('the descriptor of a closed file cannot be read', { skip }, () => {
  const mapping = Mapping.of(MemoryFile.create('a test', 65536).descriptor, { offset: 0, length: 65536 })
  const [{ backing }] = mapping.regions(0)
  assert.ok(backing && backing.fd >= 0)
  mapping.close()
  assert.throws(() => backing.fd, /a test is closed/)
})

test('regions of a private or hidden mapping have no backing file', { skip }, () => {
  for (const range of [
    { offset: 0, length: 65536, private: true },
    { offset: 0, length: 65536, hidden: true },
  ]) {
    const mapping = Mapping.of(MemoryFile.create('a test', 65536).descriptor, range)
    assert.equal(mapping.regions(0)[0].backing, undefined)
    mapping.close()
  }
})
