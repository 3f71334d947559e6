import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activateDevice } from '../src/testing.ts'
import { RandomByteDevice } from './random-byte-device.ts'

test('a request is answered with random bytes, 256 at most', async () => {
  const rig = activateDevice(new RandomByteDevice(() => 4)) // chosen by fair dice roll

  const reply = rig.send(0, [], [3, 2])
  assert.equal(reply.written, 5)
  assert.deepEqual([...reply.bytes], [4, 4, 4, 4, 4])

  assert.equal(rig.send(0, [], [1_000_000]).written, 256)
  assert.equal(rig.send(0, [[1, 2]], []).written, 0)

  await rig.reset()
})
