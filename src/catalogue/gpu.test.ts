import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { openDescriptors } from '../backends/buffers/testing/test-memory.ts'
import { ffiMissing } from '../host/linux/ffi.ts'
import { createReactor } from '../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import { featureSet } from '../virtio/feature.ts'
import type { DeviceHost, ServedDevice } from './device-kind.ts'
import { gpuKind } from './gpu.ts'
import { openDevice } from './open-device.ts'
import { parseSettings, type Settings } from './options.ts'

const skip = ffiMissing() ?? false
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-gpu-'))
after(() => rmSync(folder, { recursive: true }))

interface OpenGpu extends ServedDevice {
  close(): Promise<void>
}

async function open(
  settings: Settings,
  reactor: Reactor,
  transport: DeviceHost['transport'] = 'vfio-user',
): Promise<OpenGpu> {
  const fail = (error: Error): never => {
    throw error
  }
  const options = parseSettings(gpuKind.options, settings)
  const { served, close } = await openDevice(gpuKind, options, { transport, reactor, log: () => {}, fail })
  assert.ok('device' in served)
  return { ...served, close }
}

test('a GPU shows its buffers and its consumers in the inspection, and closes everything that it opened', {
  skip,
}, async () => {
  const reactor = createReactor()
  // The first one loads modules, which opens descriptors that stay.
  await (await open({ export: path.join(folder, 'first.sock') }, reactor)).close()
  const before = openDescriptors()
  for (let round = 0; round < 20; round++) {
    const socket = path.join(folder, 'frames.sock')
    const served = await open({ export: socket, 'export-memory': true, 'export-user': '1', heap: '1M' }, reactor)
    assert.ok(existsSync(socket))
    const { buffers, exported } = served.inspect?.() ?? {}
    assert.deepEqual(JSON.parse(JSON.stringify(exported)).consumers, [])
    assert.deepEqual(JSON.parse(JSON.stringify(buffers)).made, { buffers: 0, spans: 0, pieces: 0 })
    await served.close()
    assert.ok(!existsSync(socket))
    assert.equal(openDescriptors(), before)
  }
  reactor.close()
})

test('a GPU that cannot be opened leaves nothing open, and its error is one line that names the option', {
  skip,
}, async () => {
  const reactor = createReactor()
  const taken = path.join(folder, 'taken')
  writeFileSync(taken, '')
  const before = openDescriptors()
  const frames = path.join(folder, 'frames.sock')
  const cases: readonly [Settings, RegExp, DeviceHost['transport']?][] = [
    [{ 'heap-pages': '2M' }, /^--heap-pages needs --heap$/],
    [{ heap: '3M', 'heap-pages': '2M' }, /whole pages/],
    [{ heap: '1M', 'no-blob': true }, /consists of blobs/],
    [{ heap: '1M' }, /--heap needs --transport=vfio-user/, 'vhost-user'],
    [{ 'guest-handle-bit': '6', 'no-blob': true }, /handles are of blobs/],
    [{ 'guest-handle-bit': '3', export: frames }, /feature bit 3 is RESOURCE_BLOB/],
    [{ 'guest-handle-bit': '30', export: frames, heap: '1M' }, /bit 0 to 23 or 50 to 127/],
    [{ 'export-memory': true }, /--export-memory needs --export/],
    [{ 'export-user': '1' }, /--export-user needs --export/],
    [{ export: taken }, /in use/],
    [{ export: path.join(folder, 'nowhere', 'frames.sock') }, /folder of .* does not exist/],
  ]
  for (const [settings, message, transport] of cases) {
    await assert.rejects(open(settings, reactor, transport), { name: 'UsageError', message })
    assert.equal(openDescriptors(), before)
  }
  assert.ok(!existsSync(frames))
  reactor.close()
})

test('CREATE_GUEST_HANDLE is offered only if its feature bit is given', { skip }, async () => {
  const reactor = createReactor()
  const plain = await open({}, reactor)
  const other = await open({ 'guest-handle-bit': '6' }, reactor)
  assert.equal(other.device.features, plain.device.features | featureSet(6))
  await plain.close()
  await other.close()
  reactor.close()
})
