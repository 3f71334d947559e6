import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { test } from 'node:test'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { uuidText } from '../../log/uuid-text.ts'
import { featureSet, hasFeature } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { BackEndMessage, FrontEndMessage } from './messages.ts'
import { ProtocolFeature } from './protocol.ts'
import { encodeMessage, type RawMessage } from './request-stream.ts'
import type { NotFound } from './shared-objects.ts'
import { NamedFiles } from './testing/named-files.ts'
import { OtherChannel } from './testing/other-channel.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false

/** Returns a UUID that contains a number. */
function uuidOf(number: number): Uint8Array {
  const uuid = Uint8Array.from({ length: 16 }, (_, i) => i * 17)
  new DataView(uuid.buffer).setUint32(12, number)
  return uuid
}

const ADD = BackEndMessage.SHARED_OBJECT_ADD.id
const REMOVE = BackEndMessage.SHARED_OBJECT_REMOVE.id
const LOOKUP = BackEndMessage.SHARED_OBJECT_LOOKUP.id

/** Returns the id of a message, and the number in its UUID. */
function summary(message: RawMessage | undefined): readonly [number, number] | undefined {
  if (!message) return undefined
  const { uuid } = BackEndMessage.SHARED_OBJECT_ADD.request.parse(message.payload)
  return [message.request, new DataView(uuid.buffer).getUint32(12)]
}

/** Runs a test body with a rig and a file for objects, and checks that it leaks no descriptor. */
async function withRig(
  what: (rig: VhostUserRig, objects: NamedFiles, file: Descriptor) => void | Promise<void>,
): Promise<void> {
  const before = openDescriptors()
  const objects = new NamedFiles()
  const file = MemoryFile.create('an object', 4096)
  const rig = new VhostUserRig(new EchoDevice(), { objects })
  await what(rig, objects, file.descriptor)
  await rig.close()
  file.close()
  assert.equal(rig.reactor.watches, 0)
  assert.equal(openDescriptors(), before)
}

test('a UUID on the wire is 16 bytes in the order of its text  @vhost-user VhostUserShared', () => {
  const wire = BackEndMessage.SHARED_OBJECT_ADD.request.write({ uuid: uuidOf(0x0102_0304) })
  assert.equal(Buffer.from(wire).toString('hex'), '00112233445566778899aabb01020304')
  assert.equal(uuidText(wire), '00112233-4455-6677-8899-aabb01020304')
  assert.deepEqual([ADD, REMOVE, LOOKUP, FrontEndMessage.GET_SHARED_OBJECT.id], [6, 7, 8, 41])
})

test('SHARED_OBJECT is offered only by devices that may have objects  @vhost-user SHARED_OBJECT', {
  skip,
}, async () => {
  const offers = (rig: VhostUserRig): boolean =>
    hasFeature(rig.frontEnd.ask('GET_PROTOCOL_FEATURES', undefined).value, ProtocolFeature.SHARED_OBJECT)
  await withRig((rig) => assert.ok(offers(rig)))
  const plain = new VhostUserRig(new EchoDevice())
  assert.ok(!offers(plain))
  await plain.close()
})

test('additions and removals are announced, and so are objects that existed before the channel  @vhost-user SHARED_OBJECT_ADD', {
  skip,
}, async () => {
  await withRig((rig, objects, file) => {
    objects.add(uuidOf(1), file)
    rig.negotiate()
    const channel = new OtherChannel(rig)
    assert.deepEqual(summary(channel.next()), [ADD, 1])
    objects.add(uuidOf(2), file)
    assert.deepEqual(summary(channel.next()), [ADD, 2])
    objects.remove(uuidOf(1))
    assert.deepEqual(summary(channel.next()), [REMOVE, 1])
    assert.equal(channel.next(), undefined)
    for (const request of [ADD, ADD, REMOVE]) channel.answer({ request }, 0)
    assert.deepEqual(rig.logged, [])
    // A new channel means a new table.
    channel.close()
    const again = new OtherChannel(rig)
    assert.deepEqual(summary(again.next()), [ADD, 2])
    assert.equal(again.next(), undefined)
    again.close()
  })
})

test('all objects are announced again to a front-end that reconnects', { skip }, async () => {
  const objects = new NamedFiles()
  const file = MemoryFile.create('an object', 4096)
  for (let round = 1; round <= 3; round++) {
    objects.add(uuidOf(round), file.descriptor)
    const rig = new VhostUserRig(new EchoDevice(), { objects })
    rig.negotiate()
    const channel = new OtherChannel(rig)
    for (let i = 1; i <= round; i++) assert.deepEqual(summary(channel.next()), [ADD, i])
    assert.equal(channel.next(), undefined)
    channel.close()
    await rig.close()
  }
  file.close()
})

test('without SHARED_OBJECT or REPLY_ACK, nothing is announced', { skip }, async () => {
  const { BACKEND_REQ, REPLY_ACK, SHARED_OBJECT } = ProtocolFeature
  await withRig((rig, objects, file) => {
    objects.add(uuidOf(1), file)
    rig.negotiate(0n, featureSet(BACKEND_REQ, REPLY_ACK))
    const channel = new OtherChannel(rig)
    assert.equal(channel.next(), undefined)
    rig.backend.lookup(uuidOf(2), (result) => assert.match(String('reason' in result && result.reason), /no table/))
    assert.equal(channel.next(), undefined)
    // A later negotiation takes effect.
    rig.frontEnd.send('SET_PROTOCOL_FEATURES', featureSet(BACKEND_REQ, REPLY_ACK, SHARED_OBJECT))
    assert.deepEqual(summary(channel.next()), [ADD, 1])
    channel.close()
  })
})

test('an object that the front-end refuses is logged, and its removal is not announced', { skip }, async () => {
  await withRig((rig, objects, file) => {
    rig.negotiate()
    const channel = new OtherChannel(rig)
    objects.add(uuidOf(1), file)
    channel.answer({ request: ADD }, 1)
    assert.match(rig.logged[0], /refused shared object 00112233-4455-6677-8899-aabb00000001/)
    assert.deepEqual(summary(channel.next()), [ADD, 1])
    objects.remove(uuidOf(1))
    assert.equal(channel.next(), undefined)
    channel.close()
  })
})

test('a guest that creates many names causes few messages, and none about objects already removed', {
  skip,
}, async () => {
  await withRig((rig, objects, file) => {
    rig.negotiate()
    const channel = new OtherChannel(rig)
    for (let i = 0; i < 5000; i++) {
      objects.add(uuidOf(i), file)
      if (i < 4990) objects.remove(uuidOf(i))
    }
    const names = new Set<number>()
    let messages = 0
    for (let message = channel.next(); message; message = channel.next()) {
      const [request, name] = summary(message) ?? []
      if (request === ADD) names.add(name ?? -1)
      else names.delete(name ?? -1)
      messages++
      channel.answer(message, 0)
    }
    assert.deepEqual(
      [...names].sort((a, b) => a - b),
      Array.from({ length: 10 }, (_, i) => 4990 + i),
    )
    assert.ok(messages < 200, `${messages} messages`)
    channel.close()
  })
})

test('GET_SHARED_OBJECT returns the descriptor of an object, or none for an unknown name  @vhost-user GET_SHARED_OBJECT', {
  skip,
}, async () => {
  await withRig((rig, objects, file) => {
    rig.negotiate()
    objects.add(uuidOf(1), file)
    const { descriptors } = rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: uuidOf(1) })
    assert.equal(fstatSync(descriptors[0].fd).ino, fstatSync(file.fd).ino)
    for (const descriptor of descriptors) descriptor.close()
    assert.equal(rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: uuidOf(2) }).descriptors.length, 0)
    objects.remove(uuidOf(1))
    assert.equal(rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: uuidOf(1) }).descriptors.length, 0)
    assert.equal(rig.logged.length, 2)
    assert.match(rig.logged[0], /GET_SHARED_OBJECT refused: 00112233-4455-6677-8899-aabb00000002: there is none/)
  })
})

test('an invalid GET_SHARED_OBJECT is answered without a descriptor, and its descriptors are closed', {
  skip,
}, async () => {
  await withRig((rig, objects, file) => {
    objects.add(uuidOf(1), file)
    const { id, request } = FrontEndMessage.GET_SHARED_OBJECT
    const right = request.write({ uuid: uuidOf(1) })
    const ask = (payload: Uint8Array, descriptors: readonly Descriptor[]): void => {
      rig.frontEnd.raw(encodeMessage(id, 0, payload), descriptors)
      const answer = rig.frontEnd.next()
      assert.deepEqual([answer?.request, answer?.payload.length, answer?.descriptors.length], [id, 0, 0])
    }
    ask(right, [])
    rig.start()
    for (const size of [0, 8, 15, 17, 1000]) ask(new Uint8Array(size), [])
    ask(right, [file])
    ask(right, [file, file, file])
    const { descriptors } = rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: uuidOf(1) })
    assert.equal(descriptors.length, 1, 'a valid request is answered as before')
    descriptors[0].close()
    assert.deepEqual(rig.echo(1, [9, 8]), [9, 8])
  })
})

/** Starts a lookup. @returns its results */
function lookUp(rig: VhostUserRig, name: number): (Descriptor | NotFound)[] {
  const results: (Descriptor | NotFound)[] = []
  rig.backend.lookup(uuidOf(name), (result) => results.push(result))
  return results
}

function reasonOf([result, ...more]: readonly (Descriptor | NotFound)[]): string {
  assert.ok(result && 'reason' in result)
  assert.deepEqual(more, [])
  return result.reason
}

test('lookup returns an object of another device by name  @vhost-user SHARED_OBJECT_LOOKUP', { skip }, async () => {
  await withRig((rig, _, file) => {
    rig.negotiate()
    assert.match(reasonOf(lookUp(rig, 1)), /keeps no table/)
    const channel = new OtherChannel(rig)
    const results = lookUp(rig, 7)
    const message = channel.take()
    assert.deepEqual(summary(message), [LOOKUP, 7])
    assert.equal(results.length, 0, 'lookup does not wait')
    channel.answer({ request: LOOKUP }, 0, [file])
    const [found] = results
    assert.ok(found instanceof Descriptor)
    assert.equal(fstatSync(found.fd).ino, fstatSync(file.fd).ino)
    found.close()

    const absent = lookUp(rig, 8)
    channel.answer({ request: LOOKUP }, 1)
    assert.match(reasonOf(absent), /no device has 00112233-4455-6677-8899-aabb00000008/)
    const lost = lookUp(rig, 9)
    channel.answer({ request: LOOKUP }, 0)
    assert.match(reasonOf(lost), /sent no descriptor/)
    channel.close()
  })
})

test('requests of both directions at the same time do not wait for each other', { skip }, async () => {
  await withRig((rig, objects, file) => {
    rig.negotiate()
    objects.add(uuidOf(1), file)
    const channel = new OtherChannel(rig)
    assert.deepEqual(summary(channel.next()), [ADD, 1])
    channel.answer({ request: ADD }, 0)
    const results = lookUp(rig, 1)
    assert.deepEqual(summary(channel.take()), [LOOKUP, 1])
    rig.frontEnd.raw(encodeMessage(41, 0, FrontEndMessage.GET_SHARED_OBJECT.request.write({ uuid: uuidOf(1) })))
    channel.answer({ request: LOOKUP }, 0, [file])
    for (const descriptor of [results[0], rig.frontEnd.answerTo('GET_SHARED_OBJECT').descriptors[0]]) {
      assert.ok(descriptor instanceof Descriptor)
      descriptor.close()
    }
    channel.close()
  })
})

test('a lookup ends if the front-end answers late, wrongly, or not at all', { skip }, async () => {
  await withRig(async (rig, _, file) => {
    rig.negotiate()
    const channel = new OtherChannel(rig)
    const late = lookUp(rig, 1)
    rig.reactor.elapse(2000)
    assert.match(reasonOf(late), /no answer about 00112233-4455-6677-8899-aabb00000001/)
    channel.answer({ request: LOOKUP }, 0, [file])
    assert.equal(late.length, 1, 'the late descriptor is closed')

    const many = lookUp(rig, 2)
    channel.answer({ request: LOOKUP }, 0, [file, file, file])
    const [found] = many
    assert.ok(found instanceof Descriptor)
    found.close()

    const wrong = lookUp(rig, 3)
    channel.answer({ request: ADD }, 0, [file])
    assert.match(reasonOf(wrong), /the back-end channel closed/)
    assert.match(rig.logged.at(-1) ?? '', /a reply to message 6 without a request/)
    assert.match(reasonOf(lookUp(rig, 4)), /no table/)
    channel.close()

    const again = new OtherChannel(rig)
    const last = lookUp(rig, 5)
    await rig.hangUp()
    assert.match(reasonOf(last), /channel closed|no answer/)
    again.close()
  })
})

test('the number of unanswered lookups is limited', { skip }, async () => {
  await withRig((rig) => {
    rig.negotiate()
    const channel = new OtherChannel(rig)
    const all = Array.from({ length: 70 }, (_, i) => lookUp(rig, i))
    assert.equal(all.filter((results) => results.length === 0).length, 64)
    assert.match(reasonOf(all[69]), /has not answered 64/)
    channel.close()
  })
})
