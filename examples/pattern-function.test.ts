import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GuestMemory, MemoryRegion } from '../src/index.ts'
import { PatternFunction } from './pattern-function.ts'

const [ADDRESS, PATTERN, LENGTH, STATUS] = [0, 8, 12, 16]

test('memory is filled with a byte, and the pin is asserted until the status is written to', () => {
  const region = MemoryRegion.over(0x1000, new Uint8Array(0x1000))
  let asserted = false
  const bus = { setInterruptLine: (level: boolean) => (asserted = level) }
  const pci = new PatternFunction(bus, new GuestMemory([region]))
  const write = (offset: number, value: number) => pci.write(offset, 4, value)
  const status = () => pci.read(STATUS, 4)

  pci.configWrite(4, 2, 6) // memory decoding and bus mastering on
  write(ADDRESS, 0x1004)
  write(PATTERN, 0xab)
  write(LENGTH, 3)
  assert.deepEqual([...region.u8.subarray(3, 8)], [0, 0xab, 0xab, 0xab, 0])
  assert.deepEqual([status(), asserted], [1, true])
  write(STATUS, 0)
  assert.deepEqual([status(), asserted], [0, false])

  write(LENGTH, 0x1000) // ends past the guest's memory
  assert.deepEqual([status(), asserted, region.u8[7]], [2, true, 0])
  pci.configWrite(4, 2, 0x406) // the pin is disabled: only the configuration space tells
  assert.deepEqual([asserted, pci.configRead(6, 2) & 8], [false, 8])

  pci.reset()
  write(LENGTH, 3) // without bus mastering
  assert.equal(status(), 2)
})
