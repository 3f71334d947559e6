import assert from 'node:assert/strict'
import { openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { LinearView } from '../../../src/backends/buffers/linear-view.ts'
import {
  addSeals,
  letteredFile,
  lettersOf,
  MemfdFlag,
  memfd,
  openDescriptors,
  PAGE,
  pagesOf,
} from '../../../src/backends/buffers/testing/test-memory.ts'
import { mapFile, unmap } from '../../../src/host/linux/address-space.ts'
import { Descriptor } from '../../../src/host/linux/descriptor.ts'
import { Seal } from '../../../src/host/linux/memory-file.ts'
import { FallocateMode, fallocate, ioctl } from '../../../src/host/linux/posix.ts'
import { DmaBufAccess, Request } from '../../../src/host/linux/udmabuf/protocol.ts'
import { UdmabufProblem } from '../../../src/host/linux/udmabuf/udmabuf-error.ts'
import { create, createList, creating, creatingList, device, outcome } from './kernel.ts'

const F_SEAL_FUTURE_WRITE = 0x10
const F_SEAL_EXEC = 0x20
const MIB = 1 << 20
/** Never closed; tests close the buffers that they make of it. */
const file = letteredFile(16)

test('pages 2 to 5 of a file are a buffer, in place', () => {
  const buffer = create(pagesOf(file, 2, 4))
  assert.equal(buffer.size, 4 * PAGE)
  assert.equal(lettersOf(buffer.bytes), 'CDEF')
  buffer.beginAccess(DmaBufAccess.READ_WRITE)
  buffer.bytes[1] = 77
  buffer.endAccess(DmaBufAccess.READ_WRITE)
  const read = new Uint8Array(1)
  readSync(file.fd, read, 0, 1, 2 * PAGE + 1)
  assert.equal(read[0], 77)
  writeSync(file.fd, Uint8Array.of(78), 0, 1, 5 * PAGE + 9)
  assert.equal(buffer.bytes[3 * PAGE + 9], 78)
  buffer.close()
})

test('scattered pages of two files, and a page twice, are one buffer that outlives the files', () => {
  const [upper, lower] = [letteredFile(16, 'A'), letteredFile(8, 'a')]
  const buffer = createList([
    ...[15, 0, 9, 4].map((page) => pagesOf(upper, page)),
    ...[pagesOf(lower, 6, 2), pagesOf(lower, 0), pagesOf(upper, 15)],
  ])
  assert.equal(lettersOf(buffer.bytes), 'PAJEghaP')
  buffer.bytes[3 * PAGE + 5] = 33
  const read = new Uint8Array(1)
  readSync(upper.fd, read, 0, 1, 4 * PAGE + 5)
  assert.equal(read[0], 33)
  buffer.bytes[3] = 34
  assert.equal(buffer.bytes[7 * PAGE + 3], 34)
  upper.close()
  lower.close()
  assert.equal(lettersOf(buffer.bytes), 'PAJEghaP')
  buffer.close()
})

for (const [sealed, seals, expected] of [
  ['no seal', 0, 'EINVAL'],
  ['only the seal against growing', Seal.GROW, 'EINVAL'],
  ['seals against shrinking and writing', Seal.SHRINK | Seal.WRITE, 'EINVAL'],
  ['seals against shrinking and future writing', Seal.SHRINK | F_SEAL_FUTURE_WRITE, 'EINVAL'],
  ['seals against shrinking and changing of its mode', Seal.SHRINK | F_SEAL_EXEC, 'EINVAL'],
  ['seals against shrinking, growing and more seals', Seal.SHRINK | Seal.GROW | Seal.SEAL, 'ok'],
] as const) {
  test(`a file with ${sealed}: ${expected}`, () => {
    const memory = memfd(4 * PAGE, seals)
    assert.equal(creating(pagesOf(memory, 0, 4)), expected)
    memory.close()
  })
}

test('a file that cannot be sealed: EINVAL', () => {
  const memory = memfd(PAGE, 0, MemfdFlag.CLOEXEC)
  assert.equal(creating(pagesOf(memory, 0)), 'EINVAL')
  memory.close()
})

for (const [range, offset, length] of [
  ['from within a page', 100, PAGE],
  ['to within a page', 0, PAGE + 1],
  ['of no bytes', 0, 0],
  ['that ends past the file', 14 * PAGE, 4 * PAGE],
  ['that begins past the file', 64 * PAGE, PAGE],
] as const) {
  test(`a range ${range}: EINVAL`, () => assert.equal(creating({ fd: file.fd, offset, length }), 'EINVAL'))
}

test('a range that wraps around: EINVAL', () => {
  const argument = BigUint64Array.of(BigInt(file.fd) | (1n << 32n), 0xffff_ffff_ffff_f000n, BigInt(2 * PAGE))
  assert.equal(
    outcome(() => ioctl('a test', device.fd, Request.UDMABUF_CREATE, argument)),
    'EINVAL',
  )
})

test('64 MiB: ok; a page more: EINVAL', () => {
  const memory = memfd(64 * MIB + PAGE)
  assert.equal(creating({ fd: memory.fd, offset: 0, length: 64 * MIB }), 'ok')
  assert.equal(creating({ fd: memory.fd, offset: 0, length: 64 * MIB + PAGE }), 'EINVAL')
  memory.close()
})

test('a list of 1024: ok; of 1025, or of none: EINVAL', () => {
  const list = Array.from({ length: 1025 }, (_, i) => pagesOf(file, i % 16))
  assert.equal(creatingList(list.slice(1)), 'ok')
  assert.equal(creatingList(list), 'EINVAL')
  assert.equal(creatingList([]), 'EINVAL')
})

test('no file, a device, and another dma-buf: EBADFD', () => {
  const buffer = create(pagesOf(file, 0))
  const nothing = new Descriptor(openSync('/dev/null', 'r+'), '/dev/null')
  for (const fd of [-1, nothing.fd, buffer.descriptor.fd]) {
    assert.equal(creating({ fd, offset: 0, length: PAGE }), 'EBADFD')
    assert.equal(creatingList([pagesOf(file, 0), { fd, offset: 0, length: PAGE }]), 'EBADFD')
  }
  nothing.close()
  buffer.close()
})

test('a file of a tmpfs: EINVAL', () => {
  const name = path.join(tmpdir(), 'ordinary')
  writeFileSync(name, new Uint8Array(PAGE))
  const ordinary = new Descriptor(openSync(name, 'r+'), name)
  assert.equal(creating(pagesOf(ordinary, 0)), 'EINVAL')
  ordinary.close()
})

test('a file of another file system: EBADFD', () => {
  const ordinary = new Descriptor(openSync(process.execPath, 'r'), process.execPath)
  assert.equal(creating(pagesOf(ordinary, 0)), 'EBADFD')
  ordinary.close()
})

test('unknown flags are accepted', () => {
  for (const flags of [0, 2, 0xff]) assert.equal(creating(pagesOf(file, 0), flags), 'ok')
})

test('2 MiB of huge pages, and 4 KiB within them, are buffers', () => {
  const memory = memfd(4 * MIB, Seal.SHRINK, MemfdFlag.CLOEXEC | MemfdFlag.ALLOW_SEALING | MemfdFlag.HUGETLB)
  const pages = mapFile('a test', memory.fd, 0, 4 * MIB)
  const whole = create({ fd: memory.fd, offset: 0, length: 2 * MIB })
  const part = create(pagesOf(memory, 5))
  whole.bytes[5 * PAGE + 1] = 73
  assert.equal(part.bytes[1], 73)
  // A view maps whole huge pages only.
  const view = LinearView.of([{ fd: memory.fd, offset: 0, length: 2 * MIB }], 'huge pages', 'a test')
  assert.equal(view.bytes[5 * PAGE + 1], 73)
  assert.throws(() => LinearView.of([pagesOf(memory, 5)], 'part of one', 'a test'), {
    problem: UdmabufProblem.UNALIGNED,
    message: /are not whole pages of 2097152 bytes: huge pages can only be mapped whole$/,
  })
  view.close()
  whole.close()
  part.close()
  unmap(pages)
  memory.close()
})

test('an unknown access flag: EINVAL', () => {
  const buffer = create(pagesOf(file, 0, 4))
  for (const flags of [0n, 0x80n]) {
    const attempt = () => ioctl('a test', buffer.descriptor.fd, Request.DMA_BUF_IOCTL_SYNC, BigUint64Array.of(flags))
    assert.equal(outcome(attempt), 'EINVAL')
  }
  buffer.close()
})

test('a buffer can be mapped in whole or in part, shared only, and not past its end', () => {
  const buffer = create(pagesOf(file, 4, 4))
  const mapping = (offset: number, length: number, shared = true) =>
    outcome(() => unmap(mapFile('a test', buffer.descriptor.fd, offset, length, shared)))
  assert.equal(mapping(0, 4 * PAGE), 'ok')
  assert.equal(mapping(3 * PAGE, PAGE), 'ok')
  assert.equal(mapping(0, 5 * PAGE), 'EINVAL')
  assert.equal(mapping(3 * PAGE, 2 * PAGE), 'EINVAL')
  assert.equal(mapping(4 * PAGE, PAGE), 'EINVAL')
  assert.equal(mapping(0, PAGE, false), 'EINVAL')
  buffer.close()
})

test('memory that is a buffer cannot be sealed against writing: EBUSY', () => {
  const memory = memfd(4 * PAGE)
  const buffer = create(pagesOf(memory, 0, 4))
  assert.equal(
    outcome(() => addSeals(memory, Seal.WRITE)),
    'EBUSY',
  )
  buffer.close()
  memory.close()
})

test('a page that is punched out of its file stays in the buffer, and file and buffer then differ', () => {
  const memory = letteredFile(2)
  const buffer = create(pagesOf(memory, 0, 2))
  fallocate('a test', memory.fd, FallocateMode.PUNCH_HOLE | FallocateMode.KEEP_SIZE, 0, PAGE)
  const read = new Uint8Array(1)
  readSync(memory.fd, read, 0, 1, 0)
  assert.equal(read[0], 0)
  assert.equal(lettersOf(buffer.bytes), 'AB')
  writeSync(memory.fd, Uint8Array.of(90), 0, 1, 0)
  assert.equal(lettersOf(buffer.bytes), 'AB')
  buffer.close()
  memory.close()
})

test('a buffer has a name, an exporter, a size and a state in fdinfo', () => {
  const before = openDescriptors()
  const buffer = create(pagesOf(file, 0, 4))
  buffer.setName('scanout 0')
  assert.throws(() => buffer.setName('a name of 32 letters is too long'), RangeError)
  const information = readFileSync(`/proc/self/fdinfo/${buffer.descriptor.fd}`, 'latin1')
  for (const line of [/^size:\t16384$/m, /^exp_name:\tudmabuf$/m, /^name:\tscanout 0$/m])
    assert.match(information, line)
  for (const access of Object.values(DmaBufAccess)) {
    assert.ok(buffer.idle(access))
    buffer.exportSyncFile(access).close()
  }
  buffer.close()
  assert.equal(openDescriptors(), before)
})
