import assert from 'node:assert/strict'
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import { KINDS } from '../../host/linux/reactor/testing/kinds.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { END, socketPair, UnixStream } from '../../host/linux/unix-stream.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { FrontEndMessage, type RequestOf } from './messages.ts'
import { MessageFlag, ProtocolFeature } from './protocol.ts'
import { encodeMessage } from './request-stream.ts'
import { RemoteDriver } from './testing/remote-driver.ts'
import { USER_BASE } from './testing/start-ring.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'
import { serveVhostUser } from './vhost-user-server.ts'

const skip = ffiMissing() ?? false
const folder = mkdtempSync(path.join(tmpdir(), 'vhost-user-'))
after(() => rmSync(folder, { recursive: true }))
const O_PATH = 0x20_0000

/**
 * Starts a rig, performs an action on it, and checks that the device is still served and all resources are released
 * afterwards.
 */
async function survives(what: (rig: VhostUserRig) => void | Promise<void>, features = 0n): Promise<void> {
  const before = openDescriptors()
  const rig = new VhostUserRig(new EchoDevice())
  rig.start(features)
  await what(rig)
  if (!rig.frontEnd.ended) assert.deepEqual(rig.echo(1, [9, 8]), [9, 8])
  await rig.close()
  assert.ok(rig.closed)
  assert.equal(rig.reactor.watches, 0)
  assert.equal(openDescriptors(), before)
}

test('every message of the wrong size is refused', { skip }, async () => {
  for (const { id } of Object.values(FrontEndMessage)) {
    await survives((rig) => {
      rig.frontEnd.raw(encodeMessage(id, MessageFlag.NEED_REPLY, new Uint8Array(1003)))
      rig.frontEnd.next()
    })
  }
})

test('unexpected descriptors and descriptors of a refused message are closed', {
  skip,
}, async () => {
  for (const { id, request } of Object.values(FrontEndMessage)) {
    await survives((rig) => {
      const { descriptor } = rig.guest.file
      const nine = new Array(9).fill(descriptor)
      for (const payload of [new Uint8Array(8), new Uint8Array(40), new Uint8Array(0)]) {
        for (const descriptors of [[descriptor], [descriptor, descriptor], nine]) {
          rig.frontEnd.raw(encodeMessage(id, MessageFlag.NEED_REPLY, payload), descriptors)
          const answer = rig.frontEnd.next()
          for (const sent of answer?.descriptors ?? []) sent.close()
        }
      }
      assert.ok(request)
    })
  }
})

test('ring addresses outside of guest memory fail the device until the next driver  @virtio 2.1.2', {
  skip,
}, async () => {
  const end = USER_BASE + (1 << 20)
  for (const [descriptor, available, used] of [
    [0, 0, 0],
    [USER_BASE, USER_BASE, end],
    [2 ** 63, USER_BASE, USER_BASE],
    [USER_BASE - 1, USER_BASE, USER_BASE],
  ]) {
    const rig = new VhostUserRig(new EchoDevice())
    assert.equal(rig.guest.file.size, end - USER_BASE)
    rig.negotiate()
    rig.shareMemory()
    for (const index of [0, 1]) {
      rig.guest.makeQueue(index, 16, rig.features)
      rig.frontEnd.send('SET_VRING_NUM', { index, num: 16 })
      const addresses = { index, flags: 0, descriptor, available, used, log: 0 }
      assert.equal(rig.frontEnd.acknowledged('SET_VRING_ADDR', addresses), 0)
      rig.frontEnd.send('SET_VRING_ERR', index, [rig.guest.errors[index].descriptor])
      rig.frontEnd.send('SET_VRING_KICK', index, [rig.guest.kicks[index].descriptor])
      rig.frontEnd.send('SET_VRING_ENABLE', { index, num: 1 })
    }
    assert.deepEqual(rig.logged, ['echo: needs a reset: ring 0: its addresses are not in guest memory'])
    assert.equal(rig.guest.errors[0].drain(), 1)
    assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value & 64, 64)
    for (const index of [0, 1]) rig.stopRing(index)
    rig.startRing(0)
    assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value & 64, 0)
    rig.startRing(1)
    assert.deepEqual(rig.echo(1, [1]), [1])
    await rig.close()
  }
})

test('one ring with addresses outside of guest memory fails the whole device', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  rig.stopRing(1)
  const addresses = { index: 1, flags: 0, descriptor: 0, available: 0, used: 0, log: 0 }
  assert.equal(rig.frontEnd.acknowledged('SET_VRING_ADDR', addresses), 0)
  rig.frontEnd.send('SET_VRING_KICK', 1, [rig.guest.kicks[1].descriptor])
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 1, num: 1 })
  assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value & 64, 64)
  assert.equal(rig.echo(0, [1]), undefined)
  rig.frontEnd.send('RESET_DEVICE', undefined)
  rig.startRing(0)
  rig.startRing(1)
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.close()
})

test('removing a ring’s memory before its start fails the device', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  rig.shareMemory()
  const { descriptorArea, driverArea, deviceArea } = rig.guest.makeQueue(0, 16, rig.features).addresses
  const [descriptor, available, used] = [descriptorArea, driverArea, deviceArea].map((area) => USER_BASE + area)
  rig.frontEnd.send('SET_VRING_NUM', { index: 0, num: 16 })
  rig.frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 0, descriptor, available, used, log: 0 })
  const region = { guestAddress: 0, size: rig.guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
  rig.frontEnd.send('REM_MEM_REG', { region })
  rig.frontEnd.send('SET_VRING_KICK', 0, [rig.guest.kicks[0].descriptor])
  rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
  assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value & 64, 64)
  await rig.close()
})

test('a ring that ends outside of memory or is misaligned fails the device at its start, which is logged', {
  skip,
}, async () => {
  for (const [offset, size] of [
    [(1 << 20) - 16, 64],
    [4097, 64],
    [4096, 63],
  ]) {
    const rig = new VhostUserRig(new EchoDevice())
    rig.negotiate()
    rig.shareMemory()
    rig.guest.makeQueue(0, 64, rig.features)
    const at = USER_BASE + offset
    rig.frontEnd.send('SET_VRING_NUM', { index: 0, num: size })
    rig.frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 0, descriptor: at, available: at, used: at, log: 0 })
    rig.frontEnd.send('SET_VRING_ERR', 0, [rig.guest.errors[0].descriptor])
    rig.frontEnd.send('SET_VRING_KICK', 0, [rig.guest.kicks[0].descriptor])
    rig.frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 })
    assert.match(rig.logged[0], /needs a reset: queue 0/)
    assert.equal(rig.guest.errors[0].drain(), 1)
    assert.equal(rig.frontEnd.ask('GET_STATUS', undefined).value & 64, 64)
    await rig.close()
  }
})

test('an invalid memory region is refused, and the table is unchanged', { skip }, async () => {
  await survives((rig) => {
    const { descriptor, size } = rig.guest.file
    const region = { guestAddress: 2 ** 40, size, userAddress: 2 ** 44, mmapOffset: 0 }
    const add = (change: Partial<typeof region>) =>
      rig.frontEnd.acknowledged('ADD_MEM_REG', { region: { ...region, ...change } }, [descriptor])
    assert.equal(add({ size: size + 4096 }), 1, 'longer than its file')
    assert.equal(add({ mmapOffset: 4096 }), 1)
    assert.equal(add({ size: 0 }), 1)
    assert.equal(add({ guestAddress: 2 ** 63 }), 1)
    assert.equal(add({ userAddress: 2 ** 64 - 2048 }), 1)
    assert.equal(add({ guestAddress: 4096 }), 1, 'overlaps guest addresses')
    assert.equal(add({ userAddress: USER_BASE + 4096 }), 1, 'overlaps front-end addresses')
    assert.equal(add({ guestAddress: 3 }), 1)
    const table = (elements: RequestOf<'SET_MEM_TABLE'>['elements'], count: number) =>
      rig.frontEnd.acknowledged(
        'SET_MEM_TABLE',
        { regions: elements.length, elements },
        new Array(count).fill(descriptor),
      )
    assert.equal(table([region, region], 2), 1)
    assert.equal(table([region], 2), 1)
    assert.equal(table([region, region], 1), 1)
    assert.equal(table([{ ...region, size: 2 * size }], 1), 1)
  })
})

test('memory of any size is mapped or refused at once, and the device is served afterwards', { skip }, async () => {
  await survives((rig) => {
    for (let power = 42; power <= 50; power++) {
      const { descriptor, size } = MemoryFile.create('sparse', 2 ** power)
      const region = { guestAddress: 2 ** 46, size, userAddress: 2 ** 50, mmapOffset: 0 }
      const refused = rig.frontEnd.acknowledged('ADD_MEM_REG', { region }, [descriptor])
      assert.equal(refused, power > 43 ? 1 : 0, `2^${power}`)
      if (refused === 0) assert.equal(rig.frontEnd.acknowledged('REM_MEM_REG', { region }), 0)
      descriptor.close()
    }
    const { descriptor, size } = MemoryFile.create('sparse', 2 ** 43)
    for (let slot = 1; slot <= 3; slot++) {
      const region = { guestAddress: slot * size, size, userAddress: 2 ** 47 + slot * size, mmapOffset: 0 }
      assert.equal(rig.frontEnd.acknowledged('ADD_MEM_REG', { region }, [descriptor]), slot === 1 ? 0 : 1)
    }
    descriptor.close()
  })
})

test('memory that may shrink while it is in use is logged once', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.negotiate()
  const file = path.join(folder, 'memory')
  writeFileSync(file, new Uint8Array(8192))
  const descriptor = new Descriptor(openSync(file, 'r+'), file)
  for (const mmapOffset of [0, 4096]) {
    const region = { guestAddress: mmapOffset, size: 4096, userAddress: USER_BASE + mmapOffset, mmapOffset }
    assert.equal(rig.frontEnd.acknowledged('ADD_MEM_REG', { region }, [descriptor]), 0)
  }
  assert.equal(rig.logged.length, 1)
  assert.match(rig.logged[0], /is not sealed/)
  descriptor.close()
  await rig.close()
})

test('a dirty log of more than 1 GiB is refused', { skip }, async () => {
  await survives((rig) => {
    const size = (1 << 30) + 4096
    const file = MemoryFile.create('log', size)
    rig.frontEnd.send('SET_LOG_BASE', { size, offset: 0 }, [file.descriptor])
    assert.ok(rig.frontEnd.ended)
    file.close()
  })
})

test('a descriptor that is not an eventfd is refused', { skip }, async () => {
  await survives((rig) => {
    const { descriptor } = rig.guest.file
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_CALL', 0, [descriptor]), 1)
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_KICK', 0, [descriptor]), 1)
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_ERR', 0, [descriptor]), 1)
    assert.equal(rig.frontEnd.acknowledged('SET_LOG_FD', undefined, [descriptor]), 1)
    assert.equal(
      rig.frontEnd.acknowledged('SET_VRING_CALL', 0x100, [rig.guest.calls[0].descriptor]),
      1,
      'unexpected descriptor',
    )
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_CALL', 0), 1, 'missing descriptor')
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_CALL', 0x100), 0)
  })
})

test('an eventfd that is never read does not stall the device', { skip }, async () => {
  await survives((rig) => {
    const full = EventFd.create('full')
    for (let i = 0; i < 3; i++) full.signal()
    assert.equal(rig.frontEnd.acknowledged('SET_VRING_CALL', 0, [full.descriptor]), 0)
    for (let i = 0; i < 100; i++) rig.echo(0, [1])
    full.close()
  })
})

test('an available index beyond the ring fails the device until it is reset', { skip }, async () => {
  const rig = new VhostUserRig(new EchoDevice())
  rig.start()
  const { driverArea } = rig.guest.queues[0].addresses
  rig.guest.region.u16[driverArea / 2 + 1] = 1000
  rig.kick(0)
  assert.match(rig.logged[0], /needs a reset: queue 0: available index/)
  assert.equal(rig.frontEnd.acknowledged('RESET_DEVICE', undefined), 0)
  rig.guest.queues.length = 0
  rig.startRing(0)
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.close()
})

test('removing memory waits for the requests in flight', { skip }, async () => {
  const before = openDescriptors()
  const device = new EchoDevice({ slow: true })
  const rig = new VhostUserRig(device)
  rig.start()
  const at = rig.send(0, [1, 2])
  const region = { guestAddress: 0, size: rig.guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
  rig.frontEnd.send('REM_MEM_REG', { region }, [], MessageFlag.NEED_REPLY)
  assert.equal(rig.frontEnd.next(), undefined)
  device.answer()
  await rig.reactor.idle()
  assert.equal(rig.frontEnd.next()?.payload[0], 0)
  assert.deepEqual([...rig.guest.region.u8.slice(at, at + 2)], [1, 2])
  await rig.close()
  assert.equal(openDescriptors(), before)
})

test('adding and removing regions repeatedly leaks no resources', { skip }, async () => {
  await survives((rig) => {
    const file = MemoryFile.create('more', 4096)
    const region = { guestAddress: 2 ** 40, size: 4096, userAddress: 2 ** 44, mmapOffset: 0 }
    const before = openDescriptors()
    for (let i = 0; i < 200; i++) {
      assert.equal(rig.frontEnd.acknowledged('ADD_MEM_REG', { region }, [file.descriptor]), 0)
      assert.equal(rig.frontEnd.acknowledged('REM_MEM_REG', { region }), 0)
    }
    assert.ok(openDescriptors() - before <= 66)
    file.close()
  })
})

/** Steps of a complete session of a front-end, one message each. */
function steps(rig: VhostUserRig): (() => void)[] {
  const { frontEnd, guest } = rig
  const region = { guestAddress: 0, size: guest.file.size, userAddress: USER_BASE, mmapOffset: 0 }
  const queue = guest.makeQueue(0, 64, 0n)
  const { descriptorArea, driverArea, deviceArea } = queue.addresses
  const [descriptor, available, used] = [descriptorArea, driverArea, deviceArea].map((area) => USER_BASE + area)
  return [
    () => frontEnd.send('SET_OWNER', undefined),
    () => frontEnd.send('SET_PROTOCOL_FEATURES', frontEnd.ask('GET_PROTOCOL_FEATURES', undefined).value & ~(1n << 21n)),
    () => frontEnd.send('SET_FEATURES', featureSet(Feature.VERSION_1, 30)),
    () => {
      const area = frontEnd.ask('GET_INFLIGHT_FD', { mmapSize: 0, mmapOffset: 0, queues: 2, queueSize: 64 })
      frontEnd.send('SET_INFLIGHT_FD', area.value, area.descriptors)
      for (const one of area.descriptors) one.close()
    },
    () => frontEnd.send('ADD_MEM_REG', { region }, [guest.file.descriptor]),
    () => frontEnd.ask('SET_LOG_BASE', { size: 4096, offset: 0 }, [guest.file.descriptor]),
    () => frontEnd.send('SET_LOG_FD', undefined, [guest.errors[0].descriptor]),
    () => frontEnd.send('SET_VRING_NUM', { index: 0, num: 64 }),
    () => frontEnd.send('SET_VRING_BASE', { index: 0, num: 0 }),
    () => frontEnd.send('SET_VRING_ADDR', { index: 0, flags: 1, descriptor, available, used, log: 0 }),
    () => frontEnd.send('SET_VRING_CALL', 0, [guest.calls[0].descriptor]),
    () => frontEnd.send('SET_VRING_ERR', 0, [guest.errors[0].descriptor]),
    () => frontEnd.send('SET_VRING_KICK', 0, [guest.kicks[0].descriptor]),
    () => frontEnd.send('SET_VRING_ENABLE', { index: 0, num: 1 }),
    () => void rig.send(0, [1]),
    () => void rig.send(0, [2]),
    () => frontEnd.send('GET_VRING_BASE', { index: 0, num: 0 }),
    () => frontEnd.send('REM_MEM_REG', { region }),
    () => frontEnd.send('RESET_DEVICE', undefined),
  ]
}

test('a front-end that dies between any two messages leaks no resources, also with requests in flight', {
  skip,
}, async () => {
  for (const slow of [false, true]) {
    for (let after = 0; after <= 19; after++) {
      const before = openDescriptors()
      const device = new EchoDevice({ slow })
      const rig = new VhostUserRig(device)
      for (const send of steps(rig).slice(0, after)) send()
      rig.frontEnd.close()
      rig.reactor.turn()
      device.answer()
      await rig.reactor.idle()
      assert.ok(rig.closed)
      assert.equal(device.session, undefined)
      rig.guest.close()
      assert.equal(openDescriptors(), before, `after ${after} messages`)
    }
  }
})

test('messages in any order are answered or end the connection, and leak no resources', {
  skip,
}, async () => {
  const orders = fc.array(fc.nat(18), { maxLength: 25 })
  await fc.assert(
    fc.asyncProperty(orders, fc.boolean(), async (order, slow) => {
      const before = openDescriptors()
      const device = new EchoDevice({ slow })
      const rig = new VhostUserRig(device)
      const messages = steps(rig)
      for (const index of order) {
        try {
          messages[index]()
        } catch {
          // No answer: the connection ended, or an earlier message waits for the device.
        }
      }
      rig.frontEnd.close()
      rig.reactor.turn()
      device.answer()
      await rig.reactor.idle()
      assert.ok(rig.closed)
      rig.guest.close()
      assert.equal(openDescriptors(), before)
    }),
    { numRuns: 60 },
  )
})

test('a partial message that is not completed in time ends the connection; an idle connection stays', {
  skip,
}, async () => {
  for (const bytes of [1, 12, 19]) {
    await survives((rig) => {
      rig.reactor.elapse(3_600_000)
      assert.ok(!rig.frontEnd.ended)
      const message = encodeMessage(FrontEndMessage.SET_VRING_NUM.id, 0, new Uint8Array(8))
      for (let times = 0; times < 3; times++) {
        // Completed in time: the next message has its own time limit.
        rig.frontEnd.raw(encodeMessage(FrontEndMessage.SET_OWNER.id, 0, new Uint8Array(0)).subarray(0, 7))
        rig.reactor.elapse(4000)
        rig.frontEnd.raw(encodeMessage(FrontEndMessage.SET_OWNER.id, 0, new Uint8Array(0)).subarray(7))
        rig.reactor.elapse(0)
      }
      rig.frontEnd.raw(message.subarray(0, bytes), [rig.guest.file.descriptor])
      rig.reactor.turn()
      rig.reactor.elapse(4999)
      assert.ok(!rig.frontEnd.ended)
      rig.reactor.elapse(1)
      assert.ok(rig.frontEnd.ended)
    })
  }
})

test('a descriptor of the wrong kind is refused where a socket or eventfd is expected', { skip }, async () => {
  await survives((rig) => {
    const listener = UnixListener.listen(path.join(folder, 'listening.sock'))
    const [stream, other] = socketPair('a stream')
    const of = (fd: number, flags: string | number) =>
      new Descriptor(openSync(`/proc/self/fd/${fd}`, flags), 'a reopened file')
    const none = [
      of(rig.guest.file.descriptor.fd, O_PATH),
      of(rig.guest.file.descriptor.fd, 'r+'),
      of(rig.guest.calls[0].descriptor.fd, O_PATH),
      of(stream.fd, O_PATH),
      new Descriptor(openSync('/dev/null', 'r+'), 'a device'),
      new Descriptor(openSync(folder, 'r'), 'a folder'),
      listener.descriptor,
    ]
    for (const descriptor of none) {
      const refused = (name: 'SET_BACKEND_REQ_FD' | 'SET_LOG_FD') =>
        assert.equal(rig.frontEnd.acknowledged(name, undefined, [descriptor]), 1, `${name} ${descriptor.what}`)
      refused('SET_BACKEND_REQ_FD')
      refused('SET_LOG_FD')
      assert.equal(rig.frontEnd.acknowledged('SET_VRING_CALL', 0, [descriptor]), 1, descriptor.what)
      assert.equal(rig.frontEnd.acknowledged('SET_VRING_KICK', 0, [descriptor]), 1, descriptor.what)
    }
    listener.close()
    for (const closable of [stream, other, ...none]) closable.close()
  })
})

for (const { kind, skip: refused } of KINDS) {
  test(`an invalid descriptor ends at most its connection, and the next front-end is served: ${kind}`, {
    skip: refused,
  }, async () => {
    const reactor = createReactor({ prefer: kind })
    const run = reactor.run()
    const release = reactor.keepMicrotasksRunning()
    const socket = path.join(folder, `${kind}.sock`)
    const device = new EchoDevice()
    const server = serveVhostUser(device, UnixListener.listen(socket), reactor, { log: () => {} })
    const event = EventFd.create('an event')
    for (const [name, path] of [
      ['SET_BACKEND_REQ_FD', '/dev/null'],
      ['SET_LOG_FD', `/proc/self/fd/${event.descriptor.fd}`],
    ] as const) {
      const stream = UnixStream.connect(socket)
      const file = new Descriptor(openSync(path, O_PATH), 'a path')
      const features = FrontEndMessage.SET_PROTOCOL_FEATURES
      const wanted = featureSet(ProtocolFeature.BACKEND_REQ)
      stream.send(encodeMessage(features.id, 0, features.request.write(wanted)))
      stream.send(encodeMessage(FrontEndMessage[name].id, 0, new Uint8Array(0)), [file])
      // The message requested no acknowledgement, so the refusal ends the connection.
      while (stream.receive() !== END) await setImmediate()
      file.close()
      stream.close()
    }
    const driver = await RemoteDriver.start(UnixStream.connect(socket), { queues: 1, queueSize: 64 })
    driver.close()
    server.close()
    await server.closed
    release.close()
    reactor.stop()
    await run
    reactor.close()
    event.close()
  })
}
