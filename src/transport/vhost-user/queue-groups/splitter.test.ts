import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventFd } from '../../../host/linux/event-fd.ts'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import { socketPair } from '../../../host/linux/unix-stream.ts'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../../socket/testing/open-descriptors.ts'
import { FrontEndMessage } from '../messages.ts'
import { MessageFlag, ProtocolFeature, VhostFeature } from '../protocol.ts'
import { encodeMessage, RequestStream } from '../request-stream.ts'
import { QueueGroupsRig } from './testing/queue-groups-rig.ts'

const skip = ffiMissing() ?? false

const QUEUES = { queueSizes: [64, 64, 16, 16] }

function pair(options = {}): [EchoDevice, EchoDevice] {
  return [new EchoDevice({ ...QUEUES, ...options }), new EchoDevice({ ...QUEUES, ...options })]
}

/** Returns the indices of a device's served rings. */
function rings({ session }: EchoDevice): number[] {
  return (session?.queues ?? []).flatMap((queue, index) => (queue ? [index] : []))
}

for (const [ring, features] of [
  ['split', featureSet(Feature.EVENT_IDX)],
  ['packed', featureSet(Feature.RING_PACKED)],
] as const) {
  test(`${ring}: each group serves its own rings only`, { skip }, async () => {
    const before = openDescriptors()
    const devices = pair()
    const rig = new QueueGroupsRig(devices)
    await rig.start(features)
    assert.deepEqual(devices.map(rings), [
      [0, 2],
      [1, 3],
    ])
    for (let i = 0; i < 200; i++) assert.deepEqual(rig.echo(i % 4, [i]), [i])
    for (const call of rig.guest.calls) assert.ok(call.drain() > 0)
    await rig.close()
    assert.ok(rig.closed)
    assert.equal(rig.reason, undefined)
    assert.deepEqual([rig.logged, ...rig.groupLogged], [[], [], []])
    assert.deepEqual(
      devices.map(({ session, resets }) => [session, resets]),
      [
        [undefined, 1],
        [undefined, 1],
      ],
    )
    assert.equal(rig.reactor.watches, 0)
    assert.equal(openDescriptors(), before)
  })
}

test('a message about a ring is answered by its group, and one about no existing ring is refused', {
  skip,
}, async () => {
  const rig = new QueueGroupsRig(pair())
  await rig.start()
  for (let i = 0; i < 5; i++) rig.echo(3, [i])
  assert.equal((await rig.ask('GET_VRING_BASE', { index: 3, num: 0 })).value.num, 5)
  assert.equal((await rig.ask('GET_VRING_BASE', { index: 1, num: 0 })).value.num, 0)
  assert.equal(rig.echo(3, [1]), undefined, 'a stopped ring is served')
  assert.deepEqual(rig.echo(2, [1]), [1])
  assert.equal(await rig.acknowledged('SET_VRING_NUM', { index: 5, num: 16 }), 1)
  assert.deepEqual(rig.groupLogged, [[], ['echo: SET_VRING_NUM refused: no ring 5: the device has 4']])
  assert.deepEqual(rig.logged, [], 'the splitter repeats a line of a group')
  await rig.close()
})

test('a message about the device is answered after every group handled it', { skip }, async () => {
  const devices = pair()
  const rig = new QueueGroupsRig(devices)
  await rig.start()
  assert.equal((await rig.ask('GET_QUEUE_NUM', undefined)).value, 4)
  assert.equal(await rig.acknowledged('RESET_DEVICE', undefined), 0)
  assert.deepEqual(
    devices.map(({ resets }) => resets),
    [1, 1],
  )
  await rig.startRings()
  for (const queue of [0, 1, 2, 3]) assert.deepEqual(rig.echo(queue, [queue]), [queue])
  await rig.close()
})

test('the device needs a reset if one group failed', { skip }, async () => {
  const devices = pair()
  const rig = new QueueGroupsRig(devices)
  await rig.start()
  assert.equal((await rig.ask('GET_STATUS', undefined)).value & 64, 0)
  devices[1].session?.needsReset('of a test')
  assert.equal((await rig.ask('GET_STATUS', undefined)).value & 64, 64)
  assert.equal(rig.guest.errors[1].drain(), 1)
  assert.equal(rig.guest.errors[0].drain(), 0)
  await rig.close()
})

test('a refused message that requests no acknowledgement ends the connection', {
  skip,
}, async () => {
  const rig = new QueueGroupsRig(pair())
  await rig.start()
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 7, num: 1 })
  await rig.reactor.idle()
  assert.ok(rig.frontEnd.ended)
  await rig.close()
  assert.match(rig.reason ?? '', /SET_VRING_ENABLE refused/)
})

test('a request that a group refuses ends the connection with the reason of that group', {
  skip,
}, async () => {
  const rig = new QueueGroupsRig(pair())
  await rig.start()
  rig.frontEnd.send('GET_VRING_BASE', { index: 9, num: 0 })
  await rig.reactor.idle()
  assert.ok(rig.frontEnd.ended)
  await rig.close()
  assert.equal(rig.reason, 'GET_VRING_BASE refused: no ring 9: the device has 4')
})

test('a message that only some groups accept is answered with a failure, and ends the connection', {
  skip,
}, async () => {
  const before = openDescriptors()
  const rig = new QueueGroupsRig(pair())
  await rig.negotiate()
  const { value, descriptors } = await rig.ask('GET_INFLIGHT_FD', {
    mmapSize: 0,
    mmapOffset: 0,
    queues: 4,
    queueSize: 64,
  })
  await rig.startRings()
  for (const ring of [1, 3]) await rig.ask('GET_VRING_BASE', { index: ring, num: 0 })
  // The rings of the first group are in use, those of the second are stopped.
  assert.equal(await rig.acknowledged('SET_INFLIGHT_FD', value, descriptors), 1)
  assert.ok(rig.frontEnd.ended)
  for (const descriptor of descriptors) descriptor.close()
  await rig.close()
  assert.match(rig.reason ?? '', /SET_INFLIGHT_FD was refused by some/)
  assert.equal(openDescriptors(), before)
})

test('protocol features are those of the groups, without INBAND_NOTIFICATIONS', { skip }, async () => {
  const rig = new QueueGroupsRig(pair())
  const offered = (await rig.ask('GET_PROTOCOL_FEATURES', undefined)).value
  const { CONFIG, INBAND_NOTIFICATIONS, INFLIGHT_SHMFD, MQ, REPLY_ACK } = ProtocolFeature
  for (const bit of [MQ, REPLY_ACK, CONFIG, INFLIGHT_SHMFD]) assert.ok(hasFeature(offered, bit), `${bit}`)
  assert.ok(!hasFeature(offered, INBAND_NOTIFICATIONS))
  rig.frontEnd.send('SET_PROTOCOL_FEATURES', featureSet(REPLY_ACK))
  assert.equal(await rig.acknowledged('SET_PROTOCOL_FEATURES', featureSet(REPLY_ACK, INBAND_NOTIFICATIONS)), 1)
  assert.equal(await rig.acknowledged('SET_PROTOCOL_FEATURES', featureSet(REPLY_ACK, MQ)), 0)
  await rig.close()
})

test('a front-end without REPLY_ACK receives no acknowledgements, although the groups send them', {
  skip,
}, async () => {
  const rig = new QueueGroupsRig(pair())
  rig.frontEnd.send('SET_PROTOCOL_FEATURES', 0n)
  rig.frontEnd.send('SET_OWNER', undefined, [], MessageFlag.NEED_REPLY)
  rig.frontEnd.send('SET_FEATURES', featureSet(Feature.VERSION_1, VhostFeature.PROTOCOL_FEATURES))
  await rig.reactor.idle()
  assert.equal(rig.frontEnd.next(), undefined)
  assert.equal((await rig.ask('GET_FEATURES', undefined)).value > 0n, true)
  await rig.close()
})

test('a configuration change is sent once, on the channel of the first group', { skip }, async () => {
  const devices = pair()
  const rig = new QueueGroupsRig(devices)
  await rig.start()
  const [ours, theirs] = socketPair('the channel')
  assert.equal(await rig.acknowledged('SET_BACKEND_REQ_FD', undefined, [theirs.descriptor]), 0)
  theirs.close()
  for (const { config } of devices.toReversed()) config.update((view) => view.setUint8(0, 7))
  await rig.reactor.idle()
  const messages = new RequestStream()
  const received = ours.receive()
  assert.ok(typeof received === 'object')
  messages.add(received.bytes)
  assert.equal(messages.next()?.request, 2)
  assert.equal(messages.next(), undefined)
  assert.equal(ours.receive(), undefined)
  assert.deepEqual(
    (await rig.ask('GET_CONFIG', { offset: 0, size: 1, flags: 0, bytes: Uint8Array.of(0) })).value.bytes,
    Uint8Array.of(7),
  )
  await rig.close()
  ours.close()
})

test('all groups log dirty pages in the same log', { skip }, async () => {
  const rig = new QueueGroupsRig(pair())
  await rig.start()
  const file = MemoryFile.create('log', 4096)
  const event = EventFd.create('log')
  assert.equal((await rig.ask('SET_LOG_BASE', { size: 4096, offset: 0 }, [file.descriptor])).value, 0)
  assert.equal(await rig.acknowledged('SET_LOG_FD', undefined, [event.descriptor]), 0)
  assert.equal(await rig.acknowledged('SET_FEATURES', rig.features | featureSet(VhostFeature.LOG_ALL)), 0)
  const log = Mapping.of(file.descriptor, { offset: 0, length: 4096 })
  for (const queue of [0, 1]) {
    log.bytes.fill(0)
    const at = rig.send(queue, [1, 2])
    rig.reactor.turn()
    const page = Math.floor(at / 4096)
    assert.ok(log.bytes[page >> 3] & (1 << (page & 7)), `what ring ${queue} wrote is not logged`)
    assert.ok(event.drain() > 0)
  }
  await rig.close()
  log.close()
  event.close()
})

test('close completes the requests in flight of every group, then ends the connection', { skip }, async () => {
  const before = openDescriptors()
  const devices = pair({ slow: true })
  const rig = new QueueGroupsRig(devices)
  await rig.start()
  for (const queue of [0, 1]) rig.send(queue, [5])
  rig.splitter.close()
  for (let i = 0; i < 5; i++) rig.reactor.turn()
  assert.ok(!rig.closed)
  for (const device of devices) {
    assert.ok(!rig.frontEnd.ended)
    device.answer()
  }
  await rig.reactor.idle()
  assert.ok(rig.frontEnd.ended)
  for (const queue of [0, 1]) assert.ok(rig.guest.queues[queue].collect())
  await rig.close()
  assert.ok(rig.closed)
  assert.equal(openDescriptors(), before)
})

test('unexpected descriptors and descriptors of a refused message are closed', {
  skip,
}, async () => {
  const before = openDescriptors()
  for (const { id } of Object.values(FrontEndMessage)) {
    const rig = new QueueGroupsRig(pair())
    await rig.start()
    const { descriptor } = rig.guest.file
    for (const payload of [new Uint8Array(8), new Uint8Array(40), new Uint8Array(1003)]) {
      for (const count of [1, 2, 9]) {
        const descriptors = new Array(count).fill(descriptor)
        rig.frontEnd.raw(encodeMessage(id, MessageFlag.NEED_REPLY, payload), descriptors)
        await rig.reactor.idle()
        for (const sent of rig.frontEnd.next()?.descriptors ?? []) sent.close()
      }
    }
    if (!rig.frontEnd.ended) assert.deepEqual(rig.echo(1, [9, 8]), [9, 8])
    await rig.close()
    assert.equal(openDescriptors(), before, `message ${id}`)
  }
})

test('a front-end that disconnects while a message is pending leaks no resources', { skip }, async () => {
  const before = openDescriptors()
  const devices = pair({ slow: true })
  const rig = new QueueGroupsRig(devices)
  await rig.start()
  rig.send(1, [5])
  rig.frontEnd.send('GET_VRING_BASE', { index: 1, num: 0 })
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 0 })
  rig.frontEnd.close()
  for (let i = 0; i < 5; i++) rig.reactor.turn()
  devices[1].answer()
  await rig.reactor.idle()
  assert.ok(rig.closed)
  rig.guest.close()
  assert.equal(openDescriptors(), before)
})
