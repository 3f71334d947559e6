import assert from 'node:assert/strict'
import { openSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { encodeMessage, RequestStream } from './request-stream.ts'

const descriptor = () => new Descriptor(openSync('/dev/null', 'r'), 'something')

test('messages are restored from bytes in pieces of any size', () => {
  const message = fc.record({
    request: fc.nat(50),
    flags: fc.constantFrom(0, 8),
    payload: fc.uint8Array({ maxLength: 40 }),
  })
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 30 })), (messages, cuts) => {
      const wire = messages.flatMap(({ request, flags, payload }) => [...encodeMessage(request, flags, payload)])
      const stream = new RequestStream()
      const found: { request: number; payload: number[] }[] = []
      for (let at = 0, i = 0; at < wire.length; i++) {
        const take = cuts[i] ?? wire.length
        stream.add(Uint8Array.from(wire.slice(at, at + take)))
        for (let next = stream.next(); next; next = stream.next()) {
          found.push({ request: next.request, payload: [...next.payload] })
        }
        at += take
      }
      assert.deepEqual(
        found,
        messages.map(({ request, payload }) => ({ request, payload: [...payload] })),
      )
    }),
  )
})

test('descriptors belong to the last message of the bytes they arrived with, complete or not', () => {
  const [first, second] = [descriptor(), descriptor()]
  const one = encodeMessage(1, 0, new Uint8Array(8))
  const two = encodeMessage(2, 0, new Uint8Array(8))
  const stream = new RequestStream()
  stream.add(Uint8Array.from([...one, ...two.subarray(0, 12)]), [first, second])
  assert.deepEqual(stream.next()?.descriptors, [])
  assert.equal(stream.next(), undefined)
  stream.add(two.subarray(12))
  assert.deepEqual(stream.next()?.descriptors, [first, second])
  first.close()
  second.close()
})

test('a wrong version or an excessive size is a fault, after which no message is returned', () => {
  for (const wire of [
    [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 1, 0, 0, 0, 1, 16, 0, 0],
  ]) {
    const stream = new RequestStream()
    stream.add(Uint8Array.from(wire))
    assert.equal(stream.next(), undefined)
    assert.notEqual(stream.fault, undefined)
  }
})

test('descriptors of incomplete messages and excess descriptors are closed', () => {
  const before = openDescriptors()
  const stream = new RequestStream()
  for (let i = 0; i < 100; i++) stream.add(Uint8Array.of(1), [descriptor()])
  assert.ok(openDescriptors() - before <= 64)
  stream.close()
  assert.equal(openDescriptors(), before)
})
