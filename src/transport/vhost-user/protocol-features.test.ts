import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventFd } from '../../host/linux/event-fd.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { END, socketPair, type UnixStream } from '../../host/linux/unix-stream.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { gpuExtension } from './gpu/gpu-extension.ts'
import { BackEndMessage } from './messages.ts'
import { networkExtension } from './network-extension.ts'
import { ProtocolFeature, VhostFeature, VRING_NO_FD } from './protocol.ts'
import { OtherChannel } from './testing/other-channel.ts'
import { USER_BASE } from './testing/start-ring.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false

test('the configuration space is read with zeroes past its end, and written if it is writable', {
  skip,
}, async () => {
  const device = new EchoDevice()
  device.config.view.setUint32(0, 0x0403_0201, true)
  const written: number[] = []
  device.configWritten = () => written.push(device.config.view.getUint8(1))
  const rig = new VhostUserRig(device)
  rig.negotiate()
  const { bytes } = rig.frontEnd.ask('GET_CONFIG', { offset: 0, size: 16, flags: 0, bytes: new Uint8Array(16) }).value
  assert.deepEqual([...bytes], [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
  const change = (second: number, flags: number) =>
    rig.frontEnd.acknowledged('SET_CONFIG', { offset: 0, size: 3, flags, bytes: Uint8Array.of(1, second, 3) })
  assert.equal(change(9, 0), 0)
  assert.deepEqual(written, [9], 'only bytes that differ are written')
  assert.equal(change(7, 1), 0, 'the configuration of a migration source is ignored')
  assert.deepEqual(written, [9])
  assert.equal(change(7, 2), 1)
  rig.frontEnd.send('GET_CONFIG', { offset: 200, size: 100, flags: 0, bytes: new Uint8Array(100) })
  assert.equal(rig.frontEnd.next()?.payload.length, 0, 'an empty reply is an error')
  await rig.close()
})

test('a configuration change is sent on the channel once a turn, and not while all rings are stopped', {
  skip,
}, async () => {
  const device = new EchoDevice()
  const rig = new VhostUserRig(device)
  rig.negotiate()
  const channel = new OtherChannel(rig)
  device.config.update((view) => view.setUint8(0, 1))
  assert.equal(channel.next(), undefined)
  rig.shareMemory()
  rig.startRing(0)
  assert.equal(channel.next()?.request, BackEndMessage.CONFIG_CHANGE_MSG.id)
  device.config.update((view) => view.setUint8(0, 2))
  device.config.update((view) => view.setUint8(0, 3))
  assert.equal(channel.next()?.request, BackEndMessage.CONFIG_CHANGE_MSG.id)
  assert.equal(channel.next(), undefined)
  channel.close()
  await rig.close()
})

test('a driver that another back-end served before receives a configuration change', { skip }, async () => {
  const description = { mmapSize: 0, mmapOffset: 0, queues: 2, queueSize: 64 }
  const maker = new VhostUserRig(new EchoDevice())
  maker.negotiate()
  const { value, descriptors } = maker.frontEnd.ask('GET_INFLIGHT_FD', description)
  for (const [rig, expected] of [
    [maker, undefined],
    [new VhostUserRig(new EchoDevice()), BackEndMessage.CONFIG_CHANGE_MSG.id],
  ] as const) {
    if (rig !== maker) rig.negotiate()
    const channel = new OtherChannel(rig)
    assert.equal(rig.frontEnd.acknowledged('SET_INFLIGHT_FD', value, descriptors), 0)
    rig.shareMemory()
    rig.startRing(0)
    assert.equal(channel.next()?.request, expected)
    channel.close()
    await rig.close()
  }
  for (const descriptor of descriptors) descriptor.close()
})

test('rings without eventfds are kicked and called by messages  @vhost-user In-band notifications', {
  skip,
}, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  const channel = new OtherChannel(rig)
  rig.shareMemory()
  const queue = rig.guest.makeQueue(0, 64, rig.features)
  const { descriptorArea, driverArea, deviceArea } = queue.addresses
  const [descriptor, available, used] = [descriptorArea, driverArea, deviceArea].map((area) => USER_BASE + area)
  rig.frontEnd.send('SET_VRING_NUM', { index: 0, num: 64 })
  rig.frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 0, descriptor, available, used, log: 0 })
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
  assert.equal(rig.echo(0, [1]), undefined)
  assert.equal(rig.frontEnd.acknowledged('VRING_KICK', { index: 0, num: 0 }), 0)
  assert.ok(queue.collect())
  const call = channel.next()
  assert.equal(call?.request, BackEndMessage.VRING_CALL.id)
  assert.deepEqual([...(call?.payload ?? [])], [0, 0, 0, 0, 0, 0, 0, 0])
  channel.close()
  await rig.close()
})

test('a ring without a kick descriptor is busy-polled  @vhost-user SET_VRING_KICK', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  rig.frontEnd.send('SET_PROTOCOL_FEATURES', featureSet(ProtocolFeature.REPLY_ACK))
  assert.equal(rig.reactor.turn(), false)
  assert.equal(rig.frontEnd.acknowledged('SET_VRING_KICK', VRING_NO_FD), 0)
  assert.equal(rig.reactor.turn(), true)
  assert.deepEqual(rig.echo(0, [1]), [1])
  assert.deepEqual(rig.logged, ['echo: ring 0 has no kick descriptor: busy polling'])
  rig.stopRing(0)
  assert.equal(rig.reactor.turn(), false)
  await rig.close()
})

test('in-band notifications without BACKEND_REQ or REPLY_ACK end the connection', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.frontEnd.send(
    'SET_PROTOCOL_FEATURES',
    featureSet(ProtocolFeature.INBAND_NOTIFICATIONS, ProtocolFeature.REPLY_ACK),
  )
  assert.ok(rig.frontEnd.ended)
  await rig.close()
})

test('memory is added and removed in slots, and a descriptor with a removal is closed', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  const { frontEnd, guest } = rig
  assert.ok(frontEnd.ask('GET_MAX_MEM_SLOTS', undefined).value >= 32)
  const whole = { guestAddress: 0, size: guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
  const odd = MemoryFile.create('odd', 10_002)
  const region = { guestAddress: 2 ** 32, size: 10_002, userAddress: 2 ** 40, mmapOffset: 0 }
  assert.equal(frontEnd.acknowledged('ADD_MEM_REG', { region: whole }, [guest.file.descriptor]), 0)
  assert.equal(frontEnd.acknowledged('ADD_MEM_REG', { region }, [odd.descriptor]), 0, 'a size that is not whole pages')
  assert.equal(frontEnd.acknowledged('ADD_MEM_REG', { region }, [odd.descriptor]), 1, 'added twice')
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [1]), [1])
  assert.equal(frontEnd.acknowledged('REM_MEM_REG', { region }, [odd.descriptor]), 0)
  assert.equal(frontEnd.acknowledged('REM_MEM_REG', { region }), 1, 'removed twice')
  assert.deepEqual(rig.echo(0, [2]), [2])
  odd.close()
  await rig.close()
})

test('a ring whose memory is removed continues at its position when the memory is added again', { skip }, async () => {
  for (const features of [0n, featureSet(Feature.RING_PACKED)]) {
    const rig = new VhostUserRig(new EchoDevice())
    const { frontEnd, guest } = rig
    const region = { guestAddress: 0, size: guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
    rig.start(features)
    for (let i = 0; i < 65; i++) rig.echo(0, [i])
    assert.equal(frontEnd.acknowledged('REM_MEM_REG', { region }), 0)
    assert.equal(rig.echo(0, [1]), undefined)
    assert.equal(frontEnd.acknowledged('ADD_MEM_REG', { region }, [guest.file.descriptor]), 0)
    assert.ok(guest.queues[0].collect())
    assert.deepEqual(rig.echo(0, [2]), [2])
    await rig.close()
  }
})

test('the same memory table again changes nothing; other regions of the same memory move the rings', {
  skip,
}, async () => {
  const device = new EchoDevice({ slow: true })
  const rig = new VhostUserRig(device)
  const { frontEnd, guest } = rig
  const { descriptor, size } = guest.file
  rig.start()
  rig.send(1, [1])
  rig.shareMemory()
  assert.equal(device.kept.length, 1, 'not drained')
  const cut = size / 2
  const halves = [
    { guestAddress: 0, size: cut, userAddress: USER_BASE, mmapOffset: 0 },
    { guestAddress: cut, size: cut, userAddress: USER_BASE + cut, mmapOffset: cut },
  ]
  frontEnd.send('SET_MEM_TABLE', { regions: 2, elements: halves }, [descriptor, descriptor])
  device.answer()
  await rig.reactor.idle()
  assert.ok(guest.queues[1].collect(), 'the chain in flight completed')
  rig.send(0, [2])
  device.answer()
  await rig.reactor.idle()
  assert.ok(guest.queues[0].collect())
  assert.equal(device.resets, 0)
  await rig.close()
})

test('with GPA_ADDRESSES, ring addresses are guest addresses', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate(0n, featureSet(ProtocolFeature.GPA_ADDRESSES, ProtocolFeature.REPLY_ACK))
  const { file } = rig.guest
  const region = { guestAddress: 0, size: file.size, userAddress: 0, mmapOffset: 0 }
  rig.frontEnd.send('SET_MEM_TABLE', { regions: 1, elements: [region] }, [file.descriptor])
  const queue = rig.guest.makeQueue(0, 64, rig.features)
  const { descriptorArea: descriptor, driverArea: available, deviceArea: used } = queue.addresses
  rig.frontEnd.send('SET_VRING_NUM', { index: 0, num: 64 })
  assert.equal(
    rig.frontEnd.acknowledged('SET_VRING_ADDR', { index: 0, flags: 0, descriptor, available, used, log: 0 }),
    0,
  )
  rig.frontEnd.send('SET_VRING_KICK', 0, [rig.guest.kicks[0].descriptor])
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.close()
})

test('pages that a device writes are logged while LOG_ALL is set, and the log event is signalled', {
  skip,
}, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  const { frontEnd, guest } = rig
  const log = MemoryFile.create('log', 4096)
  const event = EventFd.create('log event')
  assert.equal(frontEnd.ask('SET_LOG_BASE', { size: 2048, offset: 2048 }, [log.descriptor]).value, 0)
  frontEnd.send('SET_LOG_FD', undefined, [event.descriptor])
  const { bytes } = Mapping.of(log.descriptor, { offset: 0, length: 4096 })
  const dirty = () =>
    [...bytes.entries()].flatMap(([i, byte]) =>
      [...Array(8).keys()].filter((bit) => byte & (1 << bit)).map((bit) => i * 8 + bit),
    )
  rig.echo(0, [1])
  assert.deepEqual(dirty(), [], 'LOG_ALL is not set')
  frontEnd.send('SET_FEATURES', rig.features | featureSet(VhostFeature.LOG_ALL))
  assert.equal(rig.logged.filter((line) => /a migration began/.test(line)).length, 1)
  const at = guest.allocator.allocate(4096, 4096)
  const queue = guest.queues[0]
  queue.add([{ address: 4096, length: 8 }], [{ address: at, length: 8 }])
  queue.kick()
  rig.kick(0)
  assert.ok(event.drain() > 0)
  const first = 2048 * 8
  const pages = dirty()
  assert.ok(pages.includes(first + at / 4096), 'data')
  assert.ok(pages.includes(first + Math.floor(queue.addresses.deviceArea / 4096)), 'the used ring')
  assert.ok(
    pages.every((page) => page >= first),
    'no bit before the offset of the log',
  )
  // The used ring may be logged at an address of its own.
  const { descriptorArea, driverArea, deviceArea } = queue.addresses
  const [descriptor, available, used] = [descriptorArea, driverArea, deviceArea].map((area) => USER_BASE + area)
  frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 1, descriptor, available, used, log: 0x80_0000 })
  queue.collect()
  rig.echo(0, [2])
  assert.ok(dirty().includes(first + 0x80_0000 / 4096))
  frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 0, descriptor, available, used, log: 0 })
  frontEnd.send('SET_FEATURES', rig.features)
  bytes.fill(0)
  rig.echo(0, [3])
  assert.deepEqual(dirty(), [], 'LOG_ALL is cleared')
  log.close()
  event.close()
  await rig.close()
})

test('shared memory regions are described, and mapped when rings are served', { skip }, async () => {
  const file = MemoryFile.create('shared', 0x3000)
  const mapping = Mapping.of(file.descriptor, { offset: 0x1000, length: 0x2000 })
  const device = new EchoDevice({ sharedMemory: [{ id: 3, memory: mapping.regions(0)[0] }] })
  const rig = new VhostUserRig(device)
  rig.negotiate()
  const sizes = rig.frontEnd.ask('GET_SHMEM_CONFIG', undefined).value
  assert.equal(sizes.regions, 1)
  assert.equal(sizes.elements[3], 0x2000)
  const channel = new OtherChannel(rig)
  rig.shareMemory()
  rig.startRing(0)
  const message = channel.next()
  assert.ok(message)
  assert.equal(message.request, BackEndMessage.SHMEM_MAP.id)
  assert.equal(message.descriptors.length, 1)
  assert.deepEqual(BackEndMessage.SHMEM_MAP.request.parse(message.payload), {
    shmid: 3,
    fdOffset: 0x1000,
    shmOffset: 0,
    length: 0x2000,
    flags: 1,
  })
  channel.answer(message, 1)
  assert.match(rig.logged.at(-1) ?? '', /cannot map shared memory 3/)
  assert.equal(channel.next(), undefined)
  for (const descriptor of message.descriptors) descriptor.close()
  channel.close()
  mapping.close()
  await rig.close()
})

test('messages for network devices are accepted by network devices only', { skip }, async () => {
  const plain = new VhostUserRig(new EchoDevice())
  plain.negotiate()
  assert.equal(plain.frontEnd.acknowledged('NET_SET_MTU', 1500), 1)
  await plain.close()

  const announced: unknown[] = []
  const network = {
    announce: (mac: Uint8Array) => announced.push([...mac]),
    setMtu: (mtu: number) => mtu <= 9000,
  }
  const echo: VirtioDevice = new EchoDevice({ queueSizes: [8, 8, 8] })
  const rig = new VhostUserRig(echo, { extension: networkExtension(network) })
  rig.negotiate()
  assert.equal(rig.frontEnd.acknowledged('NET_SET_MTU', 1500), 0)
  assert.equal(rig.frontEnd.acknowledged('NET_SET_MTU', 90_000), 1)
  assert.equal(rig.frontEnd.acknowledged('SEND_RARP', { mac: Uint8Array.of(2, 0, 0, 1, 2, 3) }), 0)
  assert.deepEqual(announced, [[2, 0, 0, 1, 2, 3]])
  assert.equal(rig.frontEnd.ask('GET_QUEUE_NUM', undefined).value, 1, 'queue pairs')
  await rig.close()
})

test('a GPU passes the socket of GPU_SET_SOCKET to its screen, and disconnects it when the connection ends', {
  skip,
}, async () => {
  const device: VirtioDevice = new EchoDevice()
  const streams: UnixStream[] = []
  let disconnected = 0
  const screen = { connect: (stream: UnixStream) => streams.push(stream), disconnect: () => disconnected++ }
  const rig = new VhostUserRig(device, { extension: gpuExtension(screen) })
  for (const text of ['first', 'again']) {
    const [ours, theirs] = socketPair('pictures')
    rig.frontEnd.send('GPU_SET_SOCKET', undefined, [theirs.descriptor])
    theirs.close()
    streams.at(-1)?.send(Buffer.from(text))
    const received = ours.receive()
    assert.ok(received && received !== END)
    assert.equal(Buffer.from(received.bytes).toString(), text)
    ours.close()
  }
  assert.equal(disconnected, 0)
  await rig.close()
  assert.equal(disconnected, 1)
  assert.equal(streams.length, 2)
  for (const stream of streams) stream.close()
})

test('a GPU without a front-end screen keeps the socket of GPU_SET_SOCKET open and sends nothing on it', {
  skip,
}, async () => {
  const device: VirtioDevice = new EchoDevice()
  const rig = new VhostUserRig(device, { extension: gpuExtension(undefined) })
  const [ours, theirs] = socketPair('pictures')
  rig.frontEnd.send('GPU_SET_SOCKET', undefined, [theirs.descriptor])
  theirs.close()
  assert.equal(ours.receive(), undefined)
  await rig.close()
  assert.equal(ours.receive(), END)
  ours.close()
})

test('unsupported messages that have a reply are answered with a failure', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  assert.equal(rig.frontEnd.ask('IOTLB_MSG', new Uint8Array(32)).value, 1)
  assert.equal(rig.frontEnd.ask('POSTCOPY_END', undefined).value, 1)
  const file = MemoryFile.create('state', 8)
  assert.equal(rig.frontEnd.ask('SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }, [file.descriptor]).value, 0x101)
  assert.equal(rig.frontEnd.acknowledged('GPU_SET_SOCKET', undefined, [file.descriptor]), 1)
  file.close()
  await rig.close()
})
