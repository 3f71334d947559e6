import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import {
  addSeals,
  MemfdFlag,
  memfd,
  openDescriptors,
  PAGE,
  pagesOf,
} from '../../../backends/buffers/testing/test-memory.ts'
import { Descriptor } from '../descriptor.ts'
import { ffiMissing } from '../ffi.ts'
import { Seal, sealsOf } from '../memory-file.ts'
import { DmaBuf } from './dma-buf.ts'
import { MemoryOwner } from './memory-seals.ts'
import { createArgument, createListArgument } from './protocol.ts'
import { Udmabuf } from './udmabuf.ts'
import { UdmabufProblem } from './udmabuf-error.ts'

const skip = ffiMissing() ?? false
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-udmabuf-'))
after(() => rmSync(folder, { recursive: true }))
writeFileSync(path.join(folder, 'list_limit'), '4\n')
writeFileSync(path.join(folder, 'size_limit_mb'), '1\n')

/** A device file that accepts no ioctl: requests that reach it passed all checks. */
const NO_DRIVER = '/dev/null'
const PASSED_ALL_CHECKS = { problem: UdmabufProblem.NO_DEVICE, message: /ENOTTY.*\/dev\/null is not a udmabuf driver/ }

test('without the driver, the error contains the remedy', { skip }, () => {
  assert.throws(() => Udmabuf.open(path.join(folder, 'udmabuf')), {
    name: 'UdmabufError',
    problem: UdmabufProblem.NO_DEVICE,
    message: /^there is no .*udmabuf: modprobe udmabuf, or boot a kernel with CONFIG_UDMABUF$/,
  })
})

test('ioctl arguments have the layout of the kernel', () => {
  const extents = [
    { fd: 7, offset: 0x1_2345_6000, length: 0x2000 },
    { fd: 9, offset: 0, length: 0x1000 },
  ]
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
  assert.equal(hex(createArgument(extents[0])), '07000000' + '01000000' + '0060452301000000' + '0020000000000000')
  assert.equal(
    hex(createListArgument(extents)),
    '01000000' +
      '02000000' +
      '07000000' +
      '00000000' +
      '0060452301000000' +
      '0020000000000000' +
      '09000000' +
      '00000000' +
      '0000000000000000' +
      '0010000000000000',
  )
})

test('the current limits of the driver apply', { skip }, () => {
  const udmabuf = Udmabuf.open(NO_DRIVER, folder)
  const file = memfd(2 << 20)
  assert.deepEqual(udmabuf.limits, { pieces: 4, bytes: 1 << 20 })
  const scattered = [8, 6, 4, 2, 0].map((page) => pagesOf(file, page))
  assert.throws(() => udmabuf.create(scattered, 'a buffer'), {
    problem: UdmabufProblem.TOO_MANY_PIECES,
    message: /^a buffer is in 5 pieces, and the driver takes 4: write 5 to .*list_limit, or /,
  })
  assert.throws(() => udmabuf.create(scattered.slice(1), 'a buffer'), PASSED_ALL_CHECKS)
  assert.throws(() => udmabuf.create([pagesOf(file, 0, 257)], 'a buffer'), {
    problem: UdmabufProblem.TOO_LARGE,
    message: /^a buffer has 1052672 bytes, and the driver takes 1048576: write 2 to .*size_limit_mb$/,
  })
  assert.throws(() => udmabuf.create([pagesOf(file, 0, 256)], 'a buffer'), PASSED_ALL_CHECKS)
  writeFileSync(path.join(folder, 'size_limit_mb'), '2\n')
  assert.throws(() => udmabuf.create([pagesOf(file, 0, 257)], 'a buffer'), PASSED_ALL_CHECKS)
  file.close()
  udmabuf.close()
})

test('without known limits, requests go to the driver', { skip }, () => {
  const udmabuf = Udmabuf.open(NO_DRIVER, path.join(folder, 'missing'))
  const file = memfd(64 << 20)
  assert.throws(() => udmabuf.create([pagesOf(file, 0, 16_384)], 'a buffer'), PASSED_ALL_CHECKS)
  file.close()
  udmabuf.close()
})

test('memory of a peer must be sealed, and our own memory is sealed here', { skip }, () => {
  const udmabuf = Udmabuf.open(NO_DRIVER)
  const open = memfd(PAGE, 0)
  const attempt = (owner?: MemoryOwner) => () => udmabuf.create([pagesOf(open, 0)], 'a buffer', owner)
  assert.throws(attempt(), { problem: UdmabufProblem.NOT_SEALED, message: /may be shrunk: .*F_SEAL_SHRINK/ })
  assert.equal(sealsOf(open), 0)
  assert.throws(attempt(MemoryOwner.OURS), PASSED_ALL_CHECKS)
  assert.equal(sealsOf(open), Seal.SHRINK)
  assert.throws(attempt(), PASSED_ALL_CHECKS)
  open.close()
  udmabuf.close()
})

test('memory that accepts no seals, or is sealed against writing, is refused', { skip }, () => {
  const udmabuf = Udmabuf.open(NO_DRIVER)
  const unsealable = memfd(PAGE, 0, MemfdFlag.CLOEXEC)
  const create = (file: Descriptor) => () => udmabuf.create([pagesOf(file, 0)], 'a buffer', MemoryOwner.OURS)
  assert.throws(create(unsealable), { problem: UdmabufProblem.NOT_SEALED, message: /accepts no seal: .*MFD_ALLOW/ })
  const readOnly = memfd(PAGE)
  addSeals(readOnly, Seal.WRITE)
  assert.throws(create(readOnly), { problem: UdmabufProblem.WRITE_SEALED, message: /sealed against writing: / })
  for (const file of [unsealable, readOnly]) file.close()
  udmabuf.close()
})

test('a file that is not a memory file, too short or closed is refused', { skip }, () => {
  const udmabuf = Udmabuf.open(NO_DRIVER)
  const ordinary = new Descriptor(openSync(process.execPath, 'r'), 'a file')
  const problem = UdmabufProblem.NOT_MEMORY_FILE
  assert.throws(() => udmabuf.create([pagesOf(ordinary, 0)], 'a buffer'), {
    problem,
    message: /is not a memory file: /,
  })
  const file = memfd(4 * PAGE)
  assert.throws(() => udmabuf.create([pagesOf(file, 0), pagesOf(file, 3, 2)], 'a buffer'), {
    problem: UdmabufProblem.BEYOND_FILE,
    message: /^piece 2 of a buffer, 8192 bytes from 12288, is not all in its file of 16384: /,
  })
  const closed = pagesOf(file, 0)
  for (const one of [file, ordinary]) one.close()
  assert.throws(() => udmabuf.create([closed], 'a buffer'), { problem, message: /is a file that is closed: / })
  udmabuf.close()
})

test('a failed request leaves nothing open', { skip }, () => {
  const file = memfd(PAGE)
  const before = openDescriptors()
  const udmabuf = Udmabuf.open(NO_DRIVER)
  assert.throws(() => udmabuf.create([pagesOf(file, 0)], 'a buffer'))
  assert.throws(() => udmabuf.create([pagesOf(file, 1)], 'a buffer'))
  udmabuf.close()
  assert.equal(openDescriptors(), before)
  file.close()
})

test('a descriptor without a size is closed', { skip }, () => {
  const before = openDescriptors()
  const descriptor = new Descriptor(openSync('/proc/self/mem', 'r'), 'not a buffer')
  assert.throws(() => DmaBuf.fromDescriptor(descriptor), { name: 'SystemCallError', call: 'lseek' })
  assert.ok(descriptor.closed)
  assert.equal(openDescriptors(), before)
})
