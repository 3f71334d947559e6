import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { openDescriptors } from '../../backends/buffers/testing/test-memory.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { featureSet } from '../../virtio/feature.ts'
import type { ServedDevice } from './back-end.ts'
import { gpuBackEnd } from './gpu.ts'

type Options = Parameters<typeof gpuBackEnd.make>[0]

const skip = ffiMissing() ?? false
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-gpu-'))
after(() => rmSync(folder, { recursive: true }))

async function make(options: Partial<Options>, reactor: Reactor): Promise<ServedDevice> {
  const fail = (error: Error): never => {
    throw error
  }
  const all = { blob: true, transport: 'vfio-user', ...options } as const
  const served = await gpuBackEnd.make(all, { reactor, log: () => {}, fail })
  assert.ok('device' in served)
  return served
}

test('a GPU’s process says which buffers others have, and closes all it opened', { skip }, async () => {
  const reactor = createReactor()
  // Loaded once, whatever that opens.
  await (await make({ export: path.join(folder, 'first.sock') }, reactor)).close?.()
  const before = openDescriptors()
  for (let round = 0; round < 20; round++) {
    const socket = path.join(folder, 'frames.sock')
    const served = await make({ export: socket, exportMemory: true, exportUser: [1], heap: 1 << 20 }, reactor)
    assert.ok(existsSync(socket))
    const { buffers, exported } = served.inspect?.() ?? {}
    assert.deepEqual(JSON.parse(JSON.stringify(exported)).consumers, [])
    assert.deepEqual(JSON.parse(JSON.stringify(buffers)).made, { buffers: 0, spans: 0, pieces: 0 })
    await served.close?.()
    assert.ok(!existsSync(socket))
    assert.equal(openDescriptors(), before)
  }
  reactor.close()
})

test('what cannot be made leaves nothing behind, and says in a line what is wrong', { skip }, async () => {
  const reactor = createReactor()
  const taken = path.join(folder, 'taken')
  writeFileSync(taken, '')
  const before = openDescriptors()
  const frames = path.join(folder, 'frames.sock')
  for (const [options, message] of [
    [{ heapPages: '2M' }, /^--heap-pages needs a --heap$/],
    [{ heap: 3 << 20, heapPages: '2M' }, /whole pages/],
    [{ heap: 1 << 20, blob: false }, /made of blobs/],
    [{ heap: 1 << 20, transport: 'vhost-user' }, /over vfio-user/],
    [{ guestHandleBit: 6, blob: false }, /handles are of blobs/],
    [{ guestHandleBit: 3, export: frames }, /feature bit 3 is RESOURCE_BLOB/],
    [{ guestHandleBit: 30, export: frames, heap: 1 << 20 }, /bit 0 to 23 or 50 to 127/],
    [{ exportMemory: true }, /--export-memory needs an --export/],
    [{ exportUser: [1] }, /--export-user needs an --export/],
    [{ export: taken }, /in use/],
    [{ export: path.join(folder, 'nowhere', 'frames.sock') }, /folder of .* does not exist/],
  ] as const) {
    await assert.rejects(make(options, reactor), { name: 'UsageError', message })
    assert.equal(openDescriptors(), before)
  }
  assert.ok(!existsSync(frames))
  reactor.close()
})

test('the feature of handles is offered where its bit is set, and nowhere else', { skip }, async () => {
  const reactor = createReactor()
  const plain = await make({}, reactor)
  const other = await make({ guestHandleBit: 6 }, reactor)
  assert.equal(other.device.features, plain.device.features | featureSet(6))
  await plain.close?.()
  await other.close?.()
  reactor.close()
})
