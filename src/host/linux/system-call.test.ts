import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from './ffi.ts'
import { FallocateMode, FlockOperation, fallocate, flock } from './posix.ts'
import { systemCall } from './system-call.ts'

const skip = ffiMissing() ?? false

test('the error of a failed system call has its name, error code and purpose', { skip }, () => {
  assert.throws(() => fallocate('punching a hole in data.img', -1, FallocateMode.KEEP_SIZE, 0, 4096), {
    name: 'SystemCallError',
    call: 'fallocate',
    code: 'EBADF',
    purpose: 'punching a hole in data.img',
    message: 'punching a hole in data.img: fallocate failed with EBADF',
  })
  assert.throws(() => flock('locking', 0, 0x7000 | FlockOperation.NB), { call: 'flock', code: 'EINVAL' })
})

test('a successful system call returns its result', { skip }, () => {
  const getpid = systemCall<[]>('int getpid()')
  assert.equal(getpid('reading the process id'), process.pid)
})

test('64-bit numbers are passed unchanged', { skip }, () => {
  // The kernel returns different errors for the largest offset and for one byte more.
  assert.throws(() => fallocate('probing', 0, 0, 2 ** 52, -(2 ** 40)), { code: 'EINVAL' })
})
