import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet, hasFeature } from '../../virtio/feature.ts'
import { Status } from '../../virtio/status.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { ServerCommand } from './dma-messages.ts'
import { IrqIndex } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'
import { PrivateMemory } from './testing/private-memory.ts'
import type { VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false

/** Starts an echo device for a client that shares no memory. */
async function started(dataAt: 12 | 16 = 16, features = 0n, device = new EchoDevice()) {
  const rig = echoRig(device)
  const driver = rig.plug()
  rig.unmap()
  const memory = new PrivateMemory(rig, dataAt)
  memory.map()
  await driver.start(features)
  await memory.serve()
  return { rig, memory, driver }
}

/** Sends bytes to the echo device. @returns the bytes that it returned */
async function echo(rig: VfioUserRig, memory: PrivateMemory, queue: number, bytes: readonly number[]) {
  const at = rig.send(queue, bytes)
  await memory.serve()
  const driver = rig.driver.queues[queue]
  return driver.collect() ? [...rig.region.u8.slice(at, at + driver.written)] : undefined
}

for (const dataAt of [12, 16] as const) {
  test(`chains are read and written by messages, with data at byte ${dataAt}  @vfio-user DMA_READ`, {
    skip,
  }, async () => {
    const { rig, memory } = await started(dataAt)
    for (let i = 0; i < 20; i++) {
      const bytes = Array.from({ length: 100 + i }, (_, at) => (at * 7 + i) & 0xff)
      assert.deepEqual(await echo(rig, memory, i & 1, bytes), bytes)
    }
    assert.equal(rig.logged.filter((line) => /shares no memory: .*slow.*fix: .*share=on/.test(line)).length, 1)
    await rig.close()
  })
}

test('indirect tables are read by messages, and long data in pieces', { skip }, async () => {
  const { rig, memory } = await started(16, featureSet(Feature.INDIRECT_DESC))
  const bytes = Array.from({ length: 100_000 }, (_, at) => (at * 31) & 0xff)
  assert.deepEqual(await echo(rig, memory, 0, bytes), bytes)
  await rig.close()
})

test('data is written before the used index, and the interrupt is signalled after both', { skip }, async () => {
  const { rig, memory, driver } = await started()
  const [, event] = rig.listen(IrqIndex.MSIX, 3)
  driver.pci.configWrite((driver.capabilities.find(({ id }) => id === 0x11)?.at ?? 0) + 2, 2, 0x8000)
  driver.set('queue_select', 0)
  driver.set('queue_msix_vector', 1)
  const at = rig.send(0, [1, 2, 3])
  memory.answering = false
  const { deviceArea } = driver.queues[0].addresses
  for (let i = 0; i < 20 && !memory.written.includes(deviceArea + 2); i++) {
    await memory.serve()
    assert.equal(event.drain(), 0)
    memory.answer()
  }
  await memory.serve()
  assert.equal(event.drain(), 1)
  assert.deepEqual(memory.written, [at, deviceArea + 4, deviceArea + 2])
  await rig.close()
})

test('EVENT_IDX and RING_PACKED are neither offered nor accepted without shared memory', { skip }, async () => {
  const { rig, driver } = await started()
  for (const feature of [Feature.EVENT_IDX, Feature.RING_PACKED]) {
    assert.equal(hasFeature(driver.offered(), feature), false)
    assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1, feature)), false)
  }
  assert.ok(rig.logged.some((line) => /FEATURES_OK refused: not offered without shared guest memory/.test(line)))
  await rig.close()
})

test('a device that accesses guest memory itself is refused without shared memory', { skip }, async () => {
  const rig = echoRig(Object.assign(new EchoDevice(), { reachesMemory: true }))
  const driver = rig.plug()
  rig.unmap()
  new PrivateMemory(rig, 16).map()
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1)), false)
  assert.ok(rig.logged.some((line) => /needs shared guest memory/.test(line)))
  await rig.close()
})

test('commands are served while DMA_READ is unanswered, and all resources are released', { skip }, async () => {
  const before = openDescriptors()
  const { rig, memory, driver } = await started()
  memory.answering = false
  assert.equal(await echo(rig, memory, 0, [1]), undefined)
  assert.equal(memory.unanswered.length, 1)
  assert.equal(driver.get('num_queues'), 2)
  rig.client.ask('DEVICE_RESET', undefined)
  assert.equal(driver.get('device_status'), 0)
  rig.unmap()
  await rig.close()
  assert.equal(openDescriptors(), before)
})

for (const [what, answer] of [
  ['an error', (memory: PrivateMemory) => memory.reply(memory.unanswered[0], new Uint8Array(0), 14)],
  ['too few bytes', (memory: PrivateMemory) => memory.reply(memory.unanswered[0], memory.unanswered[0].payload)],
  ['too many bytes', (memory: PrivateMemory) => memory.reply(memory.unanswered[0], new Uint8Array(1000))],
] as const) {
  test(`if a read is answered with ${what}, the device needs a reset`, { skip }, async () => {
    const { rig, memory, driver } = await started()
    memory.answering = false
    await echo(rig, memory, 0, [1])
    answer(memory)
    await memory.serve()
    assert.equal(driver.get('device_status') & Status.DEVICE_NEEDS_RESET, Status.DEVICE_NEEDS_RESET)
    assert.ok(rig.logged.some((line) => /cannot be read or written by message/.test(line)))
    memory.unanswered.splice(0)
    memory.answering = true
    await driver.start()
    await memory.serve()
    assert.deepEqual(await echo(rig, memory, 0, [4, 5]), [4, 5])
    await rig.close()
  })
}

test('a second reply to the same message is ignored and logged', { skip }, async () => {
  const { rig, memory } = await started()
  memory.answering = false
  await echo(rig, memory, 0, [1])
  const [first] = memory.unanswered
  memory.answer()
  memory.reply(first, new Uint8Array(20))
  memory.answering = true
  await memory.serve()
  while (memory.unanswered.length > 0) {
    memory.answer()
    await memory.serve()
  }
  assert.ok(rig.logged.some((line) => /a reply to .+ without a request/.test(line)))
  assert.deepEqual(await echo(rig, memory, 1, [7]), [7])
  await rig.close()
})

test('DMA_UNMAP is answered at once, and no further writes go to the unmapped range', { skip }, async () => {
  const device = new EchoDevice({ slow: true })
  const { rig, memory } = await started(16, 0n, device)
  rig.send(0, [1, 2])
  await memory.serve()
  assert.equal(device.kept.length, 1)
  memory.answering = false
  device.answer()
  await memory.serve()
  assert.deepEqual(
    memory.unanswered.map(({ command }) => command),
    [ServerCommand.DMA_WRITE],
  )
  rig.unmap()
  memory.answer()
  await memory.serve()
  assert.equal(memory.unanswered.length, 0)
  await rig.close()
})

test('a reset completes when all writes reached guest memory', { skip }, async () => {
  const device = new EchoDevice({ slow: true })
  const { rig, memory, driver } = await started(16, 0n, device)
  rig.send(0, [1, 2])
  await memory.serve()
  memory.answering = false
  device.answer()
  driver.set('device_status', 0)
  await memory.serve()
  assert.notEqual(driver.get('device_status'), 0)
  memory.answering = true
  while (memory.unanswered.length > 0) {
    memory.answer()
    await memory.serve()
  }
  assert.equal(driver.get('device_status'), 0)
  await rig.close()
})

test('memory that is unmapped during a read and mapped again loses no request', { skip }, async () => {
  const { rig, memory, driver } = await started()
  assert.deepEqual(await echo(rig, memory, 0, [1]), [1])
  memory.answering = false
  const at = rig.send(0, [2, 3])
  await memory.serve()
  assert.equal(memory.unanswered.length, 1)
  rig.unmap()
  memory.map()
  memory.answering = true
  memory.answer()
  await memory.serve()
  assert.equal(driver.get('device_status') & Status.DEVICE_NEEDS_RESET, 0)
  assert.ok(driver.queues[0].collect())
  assert.deepEqual([...rig.region.u8.slice(at, at + 2)], [2, 3])
  await rig.close()
})
