import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { inspectUnserved } from '../vhost-user-server.ts'
import { mergeInspections } from './merged-inspection.ts'

test('the inspection of a ring is that of its group', { skip: ffiMissing() ?? false }, () => {
  const [first, second, third] = [0, 1, 2].map((group) => {
    const inspection = inspectUnserved(new EchoDevice({ queueSizes: [16, 16, 16, 16, 16] }))
    const queues = inspection.queues.map((queue) => ({ ...queue, pushed: group + 1 }))
    return {
      ...inspection,
      queues,
      status: group === 2 ? ['DRIVER_OK', 'DEVICE_NEEDS_RESET'] : ['DRIVER_OK'],
      state: { group },
    }
  })
  const merged = mergeInspections([first, second, third])
  assert.equal(merged.name, 'echo')
  assert.deepEqual(merged.offered, first.offered)
  assert.deepEqual(
    merged.queues.map(({ index, pushed }) => [index, pushed]),
    [
      [0, 1],
      [1, 2],
      [2, 3],
      [3, 1],
      [4, 2],
    ],
  )
  assert.deepEqual(merged.status, ['DRIVER_OK', 'DEVICE_NEEDS_RESET'])
  assert.deepEqual(merged.state, { groups: [{ group: 0 }, { group: 1 }, { group: 2 }] })
})
