import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { encodeMessage } from './command-stream.ts'
import { IrqIndex, MAX_MESSAGE } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'
import { MEMORY_BYTES, type VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false
const NOTHING = new Uint8Array(0)
const ENOSPC = 28

/** Returns a header with any size and flags. */
function header(size: number, flags = 0, command = 4): Uint8Array {
  const bytes = encodeMessage({ id: 1, command, flags, error: 0 }, NOTHING)
  new DataView(bytes.buffer).setUint32(4, size, true)
  return bytes
}

/** Steps of a complete session of a client, after each of which it may disconnect. */
const STEPS: readonly ((rig: VfioUserRig) => unknown)[] = [
  (rig) => rig.greet(),
  (rig) => rig.map(0, MEMORY_BYTES / 2),
  (rig) => rig.map(MEMORY_BYTES / 2, MEMORY_BYTES / 2),
  (rig) => rig.unmap(MEMORY_BYTES / 2, MEMORY_BYTES / 2),
  (rig) => rig.unmap(0, MEMORY_BYTES / 2),
  (rig) => rig.listen(IrqIndex.INTX, 1),
  (rig) => rig.listen(IrqIndex.MSIX, 3),
  (rig) => rig.client.send('DEVICE_RESET', undefined),
  (rig) => rig.client.next(),
]

for (const [what, bytes] of [
  ['a message shorter than its header', header(15)],
  ['a message of no bytes', header(0)],
  ['a message that never ends', header(0xffff_ffff)],
  ['a message a byte too long', header(MAX_MESSAGE + 1)],
  ['neither command nor reply', header(16, 2)],
  ['all flags', header(16, 0xffff_ffff)],
] as const) {
  test(`${what} ends the connection, and only that`, { skip }, async () => {
    const before = openDescriptors()
    const rig = echoRig()
    rig.greet()
    rig.map()
    rig.client.raw(bytes, [rig.file.descriptor])
    assert.equal(rig.client.ended, true)
    await rig.close()
    assert.equal(rig.closed, true)
    assert.equal(openDescriptors(), before)
  })
}

test('a reply without a request is logged, and the next command is served', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  rig.client.raw(header(16, 1), [rig.file.descriptor])
  rig.map()
  assert.equal(rig.logged.filter((line) => /without a request/.test(line)).length, 1)
  await rig.close()
})

test('unexpected descriptors are closed', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  const event = EventFd.create('an event')
  const before = openDescriptors()
  const many = new Array(100).fill(event.descriptor)
  const info = { argsz: 16, flags: 0, regions: 0, irqs: 0, bytes: NOTHING }
  assert.equal(rig.client.refusal('DEVICE_GET_INFO', info, many), 22)
  assert.equal(rig.client.refusal('DEVICE_RESET', undefined, many), 22)
  assert.equal(rig.client.refusal('REGION_READ', { region: 7, offset: 0, count: 4 }, many), 22)
  const range = { argsz: 32, flags: 3, offset: 0, address: 0, size: 4096 }
  assert.equal(rig.client.refusal('DMA_MAP', range, [rig.file.descriptor, event.descriptor]), 22)
  assert.equal(rig.client.refusal('DMA_MAP', range, [event.descriptor]), 22)
  // Many descriptors before a message is complete: excess ones are closed at once.
  for (let i = 0; i < 4; i++) rig.client.raw(header(48, 0, 2).subarray(4 * i, 4 * i + 4), many)
  rig.client.raw(new Uint8Array(32))
  await rig.reactor.idle()
  assert.equal(rig.client.next()?.error, 22)
  assert.equal(openDescriptors(), before)
  event.close()
  await rig.close()
})

test('after a client disconnected at any step, in the middle of any message, all resources are released', {
  skip,
}, async () => {
  const before = openDescriptors()
  for (let steps = 0; steps <= STEPS.length; steps++) {
    for (const partial of [0, 1, 15, 16, 20]) {
      const device = new EchoDevice()
      const rig = echoRig(device)
      for (const step of STEPS.slice(0, steps)) step(rig)
      rig.client.raw(header(48, 0, 2).subarray(0, partial))
      if (partial === 20) rig.client.raw(Uint8Array.of(1, 2, 3, 4), [rig.file.descriptor])
      rig.reactor.turn()
      await rig.close()
      assert.equal(rig.closed, true)
      assert.equal(rig.reactor.watches, 0)
    }
  }
  assert.equal(openDescriptors(), before)
})

test('if a client disconnects with requests in flight, the session ends when they are complete', { skip }, async () => {
  const before = openDescriptors()
  const device = new EchoDevice({ slow: true })
  const rig = echoRig(device)
  await rig.start()
  rig.send(0, [1])
  rig.send(1, [2])
  rig.client.close()
  rig.reactor.turn()
  assert.equal(device.resets, 1, 'only the reset by the driver')
  device.answer()
  await rig.reactor.idle()
  assert.equal(device.session, undefined)
  assert.equal(rig.closed, true)
  await rig.close()
  assert.equal(openDescriptors(), before)
})

test('memory that may shrink after it is mapped is logged', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  const folder = mkdtempSync(path.join(tmpdir(), 'vfio-user-'))
  writeFileSync(path.join(folder, 'memory'), new Uint8Array(8192))
  const descriptor = new Descriptor(openSync(path.join(folder, 'memory'), 'r+'), 'memory')
  const range = { argsz: 32, flags: 3, offset: 0, address: 0x10_0000, size: 4096 }
  rig.client.ask('DMA_MAP', range, [descriptor])
  rig.client.ask('DMA_MAP', { ...range, address: 0x20_0000 }, [descriptor])
  assert.equal(rig.logged.filter((line) => /not sealed/.test(line)).length, 1)
  descriptor.close()
  rmSync(folder, { recursive: true })
  await rig.close()
})

test('a partial message that is not completed in time ends the connection', { skip }, async () => {
  for (const bytes of [1, 16, 20]) {
    const before = openDescriptors()
    const rig = echoRig()
    await rig.start()
    rig.reactor.elapse(3_600_000)
    rig.client.raw(encodeMessage({ id: 1, command: 2, flags: 0, error: 0 }, new Uint8Array(32)).subarray(0, bytes))
    rig.reactor.turn()
    rig.reactor.elapse(4999)
    assert.equal(rig.client.ended, false)
    rig.reactor.elapse(1)
    assert.equal(rig.client.ended, true)
    await rig.close()
    assert.equal(rig.closed, true)
    assert.equal(openDescriptors(), before)
  }
})

test('memory of any size is mapped or refused at once', { skip }, async () => {
  const before = openDescriptors()
  const rig = echoRig()
  await rig.start()
  const range = { argsz: 32, flags: 3, offset: 0, address: 2 ** 46, size: 4096 }
  for (let power = 40; power <= 46; power++) {
    const { descriptor, size } = MemoryFile.create('sparse', 2 ** power)
    // The whole file, and one page of it, for which the file is mapped as a whole.
    if (power >= 42) assert.equal(rig.client.refusal('DMA_MAP', { ...range, size }, [descriptor]), ENOSPC)
    else rig.client.ask('DMA_MAP', { ...range, size }, [descriptor])
    rig.client.ask('DMA_MAP', { ...range, address: 2 ** 50, offset: size - 4096 }, [descriptor])
    rig.client.ask('DMA_UNMAP', { argsz: 24, flags: 0, address: 2 ** 50, size: 4096 })
    if (power < 42) rig.client.ask('DMA_UNMAP', { argsz: 24, flags: 0, address: 2 ** 46, size })
    descriptor.close()
  }
  assert.deepEqual(rig.echo(0, [1, 2]), [1, 2])
  await rig.close()
  assert.equal(openDescriptors(), before)
})

test('a thousand clients one after another leak no resources', { skip }, async () => {
  const device = new EchoDevice()
  const before = openDescriptors()
  for (let i = 0; i < 1000; i++) {
    const rig = echoRig(device)
    rig.greet()
    rig.map()
    rig.listen(IrqIndex.MSIX, 3)
    if (i % 3 === 0) rig.unmap()
    await rig.close()
    assert.equal(rig.closed, true)
  }
  assert.equal(openDescriptors(), before)
})

test('arbitrary messages do not throw, and the next client is served', { skip }, async () => {
  const before = openDescriptors()
  const command = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 2, max: 18 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff }) },
  )
  const word = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 7, 16, 20, 32, 0x24, 0x1000, 0x2000), fc.nat(0xffff_ffff))
  const payload = fc
    .tuple(fc.array(word, { maxLength: 12 }), fc.constantFrom(0, 0, 0, 1, 2, 3))
    .map(([words, less]) =>
      new Uint8Array(Uint32Array.from(words).buffer).subarray(0, Math.max(0, 4 * words.length - less)),
    )
  const message = fc.record({
    command,
    payload,
    flags: fc.constantFrom(0, 0, 0, 0x10, 1),
    descriptors: fc.constantFrom('none', 'none', 'memory', 'event', 'both'),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 60, size: 'max' }), async (messages) => {
      const rig = echoRig()
      const event = EventFd.create('an event')
      await rig.start()
      const beside = {
        none: [],
        memory: [rig.file.descriptor],
        event: [event.descriptor],
        both: [rig.file.descriptor, event.descriptor],
      }
      for (const { command, payload, flags, descriptors } of messages) {
        rig.client.raw(encodeMessage({ id: 1, command, flags, error: 0 }, payload), beside[descriptors as 'none'])
        for (let answer = rig.client.next(); answer; answer = rig.client.next()) {
          for (const descriptor of answer.descriptors) descriptor.close()
        }
      }
      await rig.reactor.idle()
      event.close()
      await rig.close()
      assert.equal(rig.closed, true)
    }),
    { numRuns: 60 },
  )
  assert.equal(openDescriptors(), before)
})
