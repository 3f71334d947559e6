import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestMemory } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import { BarePair } from './testing/bare-pair.ts'

const BASE = 0x10000
const BYTES = 1 << 15

test('every byte that a device writes is reported, and no byte that it may only read', () => {
  const request = fc.record({
    reads: fc.array(fc.nat(20), { maxLength: 2 }),
    writes: fc.array(fc.nat(20), { maxLength: 3 }),
    length: fc.nat(70),
    claims: fc.nat(70),
  })
  const options = fc.record({
    packed: fc.boolean(),
    size: fc.constantFrom(1, 4, 8),
    eventIdx: fc.boolean(),
    inOrder: fc.boolean(),
  })
  fc.assert(
    fc.property(options, fc.array(request, { maxLength: 30 }), (setup, requests) => {
      const region = MemoryRegion.over(BASE, new Uint8Array(BYTES))
      const reported = new Uint8Array(BYTES)
      const memory = new GuestMemory([region], (address, length) => {
        assert.ok(address >= BASE && address + length <= BASE + BYTES)
        reported.fill(1, address - BASE, address - BASE + length)
      })
      const pair = new BarePair({ ...setup, memory })
      for (const { reads, writes, length, claims } of requests) {
        const inputs = reads.map((size) => pair.part(size))
        const outputs = writes.map((size) => pair.part(size))
        if (pair.driver.add(inputs, outputs) < 0) continue
        pair.driver.kick()
        const before = region.u8.slice()
        reported.fill(0)
        const chain = pair.queue.pop() ?? assert.fail('no chain')
        chain.writer.write(new Uint8Array(length).fill(0xff))
        pair.queue.push(chain, claims)
        pair.queue.publish()
        assert.equal(pair.queue.pop(), undefined)
        for (let i = 0; i < BYTES; i++) if (region.u8[i] !== before[i]) assert.equal(reported[i], 1, `byte ${i}`)
        for (const { address, length: size } of inputs) {
          assert.equal(reported.subarray(address - BASE, address - BASE + size).includes(1), false, 'a readable part')
        }
        assert.equal(pair.driver.collect(), true)
        for (const { address } of [...inputs, ...outputs]) pair.allocator.free(address)
      }
    }),
  )
})
