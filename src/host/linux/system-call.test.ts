import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FallocateMode, fallocate } from './fallocate.ts'
import { ffiMissing } from './ffi.ts'
import { FlockOperation, flock } from './flock.ts'
import { systemCall } from './system-call.ts'

const skip = ffiMissing() ?? false

test('a system call that fails says which, why, and what it was for', { skip }, () => {
  assert.throws(() => fallocate('punching a hole in data.img', -1, FallocateMode.KEEP_SIZE, 0, 4096), {
    name: 'SystemCallError',
    call: 'fallocate',
    code: 'EBADF',
    purpose: 'punching a hole in data.img',
    message: 'punching a hole in data.img: fallocate failed with EBADF',
  })
  assert.throws(() => flock('locking', 0, 0x7000 | FlockOperation.NB), { call: 'flock', code: 'EINVAL' })
})

test('a system call that works returns what it does', { skip }, () => {
  const getpid = systemCall<[]>('int getpid()')
  assert.equal(getpid('asking who I am'), process.pid)
})

test('numbers of 64 bits arrive whole', { skip }, () => {
  // The largest offset there is, and one byte more than it: the kernel tells them apart.
  assert.throws(() => fallocate('probing', 0, 0, 2 ** 52, -(2 ** 40)), { code: 'EINVAL' })
})
