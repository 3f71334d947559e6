import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'

test('the driver tells its limits', () => {
  const udmabuf = Udmabuf.open()
  assert.deepEqual(udmabuf.limits, { pieces: 1024, bytes: 64 << 20 })
  udmabuf.close()
})
