import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BackEndMessage, FrontEndMessage, frontEndMessageName } from './messages.ts'

/** Bytes from hexadecimal, gaps ignored. */
const bytes = (hex: string) => Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16))

test('message ids are unique and contiguous  @vhost-user Front-end message types', () => {
  const ids = Object.values(FrontEndMessage).map(({ id }) => id)
  assert.deepEqual(
    ids,
    Array.from({ length: 45 }, (_, i) => i + 1),
  )
  assert.equal(frontEndMessageName(44), 'GET_SHMEM_CONFIG')
  assert.equal(frontEndMessageName(46), undefined)
  assert.deepEqual([BackEndMessage.SHMEM_MAP.id, BackEndMessage.SHMEM_UNMAP.id], [9, 10])
})

test('ring addresses on the wire  @vhost-user A vring address description', () => {
  const wire = bytes(
    '01000000 00000000 0000123456780000 0010123456780000 0020123456780000 0000000100000000'.replaceAll(' ', ''),
  )
  assert.equal(wire.length, 40)
  const value = FrontEndMessage.SET_VRING_ADDR.request.parse(wire)
  assert.deepEqual(value, {
    index: 1,
    flags: 0,
    descriptor: 0x7856_3412_0000,
    used: 0x7856_3412_1000,
    available: 0x7856_3412_2000,
    log: 0x100_0000,
  })
  assert.deepEqual(FrontEndMessage.SET_VRING_ADDR.request.write(value), wire)
})

test('a memory table contains exactly the announced number of regions  @vhost-user Multiple Memory regions description', () => {
  const { request } = FrontEndMessage.SET_MEM_TABLE
  const region = { guestAddress: 0, size: 0x1000, userAddress: 0x7f00_0000_0000, mmapOffset: 0 }
  const wire = request.write({ regions: 2, elements: [region, region] })
  assert.equal(wire.length, 8 + 2 * 32)
  assert.deepEqual(request.parse(wire), { regions: 2, elements: [region, region] })
  assert.throws(() => request.parse(wire.subarray(0, 40)), /40 bytes instead of 72/)
  wire[0] = 0xff
  wire[3] = 0xff
  assert.throws(() => request.parse(wire), { name: 'MessageError' })
  assert.throws(() => request.parse(wire.subarray(0, 4)), { name: 'MessageError' })
})

test('an in-flight description is accepted with and without the four bytes of padding that C adds', () => {
  const { request } = FrontEndMessage.GET_INFLIGHT_FD
  const value = { mmapSize: 0x1000, mmapOffset: 0, queues: 2, queueSize: 128 }
  const wire = request.write(value)
  assert.equal(wire.length, 24)
  assert.deepEqual(wire.slice(16, 20), bytes('02008000'))
  assert.deepEqual(request.parse(wire), value)
  assert.deepEqual(request.parse(wire.subarray(0, 20)), value)
  assert.throws(() => request.parse(wire.subarray(0, 22)), { name: 'MessageError' })
})

test('the sizes of shared memory regions are sent for all 256 ids  @vhost-user VIRTIO Shared Memory Region configuration', () => {
  const elements = new Array<number>(256).fill(0)
  elements[1] = 0x10_0000
  const wire = FrontEndMessage.GET_SHMEM_CONFIG.reply?.write({ regions: 1, elements })
  assert.equal(wire?.length, 8 + 256 * 8)
  assert.deepEqual(wire?.slice(0, 24), bytes('0100000000000000 0000000000000000 0000100000000000'))
})

test('a request to map shared memory on the wire  @vhost-user MMAP request', () => {
  const wire = BackEndMessage.SHMEM_MAP.request.write({ shmid: 1, fdOffset: 2, shmOffset: 3, length: 4, flags: 1 })
  assert.deepEqual(wire, bytes('0100000000000000 0200000000000000 0300000000000000 0400000000000000 0100000000000000'))
})

test('a parser returns a value or refuses, for arbitrary bytes', () => {
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(FrontEndMessage)), fc.uint8Array({ maxLength: 300 }), (kind, wire) => {
      try {
        kind.request.parse(wire)
      } catch (error) {
        assert.equal((error as Error).name, 'MessageError')
      }
    }),
  )
})

test('a number above the exact integers stays out of every valid range when it is passed on', () => {
  const { request } = FrontEndMessage.SET_VRING_ADDR
  const address = { index: 0, flags: 0, descriptor: 2 ** 64, used: 2 ** 53, available: 4096, log: 0 }
  const again = request.parse(request.write(address))
  assert.deepEqual(again, address)
})
