import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import type { SharedWindow } from '../../virtio/shared-memory.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { BackEndMessage } from './messages.ts'
import type { RawMessage } from './request-stream.ts'
import { OtherChannel } from './testing/other-channel.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false
const SIZE = 0x10000
const { SHMEM_MAP, SHMEM_UNMAP } = BackEndMessage

/** Device with window 2, served to a front-end with a channel. */
async function withWindow(
  body: (parts: {
    window: SharedWindow
    channel: OtherChannel
    rig: VhostUserRig
    device: EchoDevice
    file: MemoryFile
    answers: boolean[]
  }) => void,
): Promise<void> {
  const before = openDescriptors()
  const device = new EchoDevice({ sharedMemory: [{ id: 2, size: SIZE, window: true }] })
  const rig = new VhostUserRig(device)
  rig.negotiate()
  const channel = new OtherChannel(rig)
  rig.shareMemory()
  rig.startRing(0)
  const window = device.session?.window(2)
  assert.ok(window)
  const file = MemoryFile.create('a file', SIZE)
  body({ window, channel, rig, device, file, answers: [] })
  file.close()
  channel.close()
  await rig.close()
  assert.equal(openDescriptors(), before)
}

function taken(channel: OtherChannel): RawMessage {
  const message = channel.next()
  assert.ok(message)
  for (const descriptor of message.descriptors) descriptor.close()
  return message
}

test('a window is described, and nothing is mapped before the device maps it', { skip }, async () => {
  await withWindow(({ rig, channel, device }) => {
    const { regions, elements } = rig.frontEnd.ask('GET_SHMEM_CONFIG', undefined).value
    assert.deepEqual([regions, elements[2]], [1, SIZE])
    assert.equal(channel.next(), undefined)
    assert.equal(device.session?.window(3), undefined)
  })
})

test('a mapping is done when the front-end has answered, and so is its removal  @vhost-user SHMEM_MAP', {
  skip,
}, async () => {
  await withWindow(({ window, channel, file, answers }) => {
    const { fd } = file.descriptor
    window.map(0x2000, 0x1000, { fd, offset: 0x3000 }, true, (mapped) => answers.push(mapped))
    const map = channel.next()
    assert.equal(map?.request, SHMEM_MAP.id)
    assert.equal(map.descriptors.length, 1)
    assert.deepEqual(SHMEM_MAP.request.parse(map.payload), {
      ...{ shmid: 2, fdOffset: 0x3000, shmOffset: 0x2000, length: 0x1000, flags: 1 },
    })
    for (const descriptor of map.descriptors) descriptor.close()
    assert.equal(answers.length, 0)
    channel.answer(map, 0)
    assert.deepEqual(answers, [true])
    window.unmap(0x2000, 0x1000, (unmapped) => answers.push(unmapped))
    const unmap = taken(channel)
    assert.equal(unmap.request, SHMEM_UNMAP.id)
    assert.equal(SHMEM_UNMAP.request.parse(unmap.payload).shmOffset, 0x2000)
    assert.equal(answers.length, 1)
    channel.answer(unmap, 0)
    assert.deepEqual(answers, [true, true])
  })
})

test('ranges that are not free, or not whole pages of the window, are refused without a message', {
  skip,
}, async () => {
  await withWindow(({ window, channel, file, answers }) => {
    const { fd } = file.descriptor
    const map = (offset: number, length: number, at = 0) =>
      window.map(offset, length, { fd, offset: at }, false, (mapped) => answers.push(mapped))
    map(0x4000, 0x2000)
    channel.answer(taken(channel), 0)
    for (const [offset, length, at] of [
      [0x4000, 0x1000],
      [0x3000, 0x2000],
      [0x5000, 0x8000],
      [0, SIZE],
      [SIZE, 0x1000],
      [SIZE - 0x1000, 0x2000],
      [-0x1000, 0x1000],
      [0x100, 0x1000],
      [0, 0x100],
      [0, 0],
      [0, 0x1000, 0x800],
    ]) {
      map(offset, length, at)
    }
    assert.equal(channel.next(), undefined)
    const remove = (offset: number, length: number) => window.unmap(offset, length, (done) => answers.push(done))
    remove(0x4000, 0x1000)
    remove(0x5000, 0x1000)
    assert.equal(channel.next(), undefined)
    assert.deepEqual(answers, [true, ...new Array(13).fill(false)])
  })
})

test('a range whose mapping the front-end refused is free again', { skip }, async () => {
  await withWindow(({ window, channel, file, answers }) => {
    const place = { fd: file.descriptor.fd, offset: 0 }
    window.map(0, SIZE, place, false, (mapped) => answers.push(mapped))
    channel.answer(taken(channel), 1)
    window.map(0, SIZE, place, false, (mapped) => answers.push(mapped))
    channel.answer(taken(channel), 0)
    assert.deepEqual(answers, [false, true])
  })
})

test('after a reset the window is empty, and answers to the earlier driver are ignored', { skip }, async () => {
  await withWindow(({ window, channel, file, answers, rig }) => {
    const place = { fd: file.descriptor.fd, offset: 0 }
    window.map(0, 0x1000, place, false, (mapped) => answers.push(mapped))
    const late = taken(channel)
    rig.frontEnd.acknowledged('RESET_DEVICE', undefined)
    channel.answer(late, 0)
    assert.equal(answers.length, 0)
    window.map(0, 0x1000, place, false, (mapped) => answers.push(mapped))
    channel.answer(taken(channel), 0)
    assert.deepEqual(answers, [true])
  })
})

test('when the channel closes, unanswered mappings fail, and the device has no window', { skip }, async () => {
  await withWindow(({ window, channel, file, answers, rig, device }) => {
    window.map(0, 0x1000, { fd: file.descriptor.fd, offset: 0 }, false, (mapped) => answers.push(mapped))
    taken(channel)
    channel.close()
    rig.reactor.turn()
    assert.deepEqual(answers, [false])
    assert.equal(device.session?.window(2), undefined)
  })
})

test('a front-end without SHMEM has no windows', { skip }, async () => {
  const device = new EchoDevice({ sharedMemory: [{ id: 2, size: SIZE, window: true }] })
  const rig = new VhostUserRig(device)
  rig.negotiate()
  rig.shareMemory()
  rig.startRing(0)
  assert.equal(device.session?.window(2), undefined)
  await rig.close()
})
