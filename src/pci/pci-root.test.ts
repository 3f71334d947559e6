import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AddressBus } from '../bus/address-bus.ts'
import { SharedLine } from '../bus/interrupt-line.ts'
import { PciRoot } from './pci-root.ts'
import { type MemoryBar, MemoryFunction } from './testing/memory-function.ts'

const [COMMAND, BAR_0] = [0x04, 0x10]
const IO = 1
const MEMORY = 2
const RAM_BYTES = 0x1000_0000

function bar(part: Partial<MemoryBar> = {}): MemoryBar {
  return { index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0, ...part }
}

/** Root with RAM below 256 MiB, and four interrupt lines. */
function makeRoot() {
  const memory = new AddressBus({ name: 'memory', size: 2 ** 40 })
  memory.insert({ start: 0, size: RAM_BYTES }, { read: () => 0x11, write() {} })
  const ports = new AddressBus({ name: 'I/O ports', size: 0x10000 })
  const levels = [false, false, false, false]
  const lines = levels.map(
    (_, i) =>
      new SharedLine({
        set: (asserted) => {
          levels[i] = asserted
        },
      }),
  )
  const root = new PciRoot({ memory, ports, interruptLine: (slot, pin) => lines[(slot + pin) % 4].source() })
  const plug = (slot: number, ...bars: MemoryBar[]): MemoryFunction => {
    let made: MemoryFunction | undefined
    root.plug(slot, (bus) => {
      made = new MemoryFunction(bus, bars)
      return made
    })
    assert.ok(made)
    return made
  }
  const rangesOf = (bus: AddressBus) => bus.statistics().ranges.map(({ start, size }) => [start, size])
  /** Ranges on the memory bus besides RAM. */
  const ranges = () => rangesOf(memory).slice(1)
  return { root, memory, ports, levels, plug, ranges, portRanges: () => rangesOf(ports) }
}

test('a BAR answers at the address that the driver wrote, while memory decoding is on  @pci 6.2.5.1', () => {
  const { memory, plug, ranges } = makeRoot()
  const pci = plug(3, bar())
  pci.configWrite(BAR_0, 4, 0xfea0_0000)
  assert.equal(memory.read(0xfea0_0004, 4), 0xffff_ffff)
  pci.configWrite(COMMAND, 2, MEMORY)
  memory.write(0xfea0_0004, 4, 0x1234_5678)
  assert.equal(pci.bars[0]?.device.read(4, 4), 0x1234_5678)
  assert.equal(memory.read(0xfea0_0004, 2), 0x5678)
  pci.configWrite(BAR_0, 4, 0xfeb0_0000)
  assert.deepEqual(ranges(), [[0xfeb0_0000, 4096]])
  assert.equal(memory.read(0xfea0_0004, 4), 0xffff_ffff)
  assert.equal(memory.read(0xfeb0_0004, 4), 0x1234_5678)
  pci.configWrite(COMMAND, 2, 0)
  assert.deepEqual(ranges(), [])
})

test('a reset of the function takes its BARs off the bus', () => {
  const { plug, ranges } = makeRoot()
  const pci = plug(3, bar({ address: 0xfea0_0000 }))
  pci.configWrite(COMMAND, 2, MEMORY)
  assert.deepEqual(ranges(), [[0xfea0_0000, 4096]])
  pci.reset()
  assert.deepEqual(ranges(), [])
})

test('a 64-bit BAR moves with each half that is written  @pci 6.2.5.1', () => {
  const { plug, ranges } = makeRoot()
  const pci = plug(3, bar({ kind: 'memory64', size: 1 << 20 }))
  pci.configWrite(COMMAND, 2, MEMORY)
  pci.configWrite(BAR_0, 4, 0xc000_0000)
  assert.deepEqual(ranges(), [[0xc000_0000, 1 << 20]])
  pci.configWrite(BAR_0 + 4, 4, 8)
  assert.deepEqual(ranges(), [[0x8_c000_0000, 1 << 20]])
  pci.configWrite(BAR_0, 4, 0)
  assert.deepEqual(ranges(), [[0x8_0000_0000, 1 << 20]])
  // Past the addresses of the bus, as while the size is read.
  for (const high of [0x100, 0xffff_ffff]) {
    pci.configWrite(BAR_0 + 4, 4, high)
    assert.deepEqual(ranges(), [])
  }
  pci.configWrite(BAR_0 + 4, 4, 1)
  assert.deepEqual(ranges(), [[0x1_0000_0000, 1 << 20]])
})

test('an I/O BAR answers at its ports, while I/O decoding is on  @pci 6.2.2', () => {
  const { ports, plug, ranges, portRanges } = makeRoot()
  const pci = plug(3, bar({ kind: 'io', size: 8 }), bar({ index: 1, address: 0xfea0_0000 }))
  pci.configWrite(BAR_0, 4, 0xc060)
  pci.configWrite(COMMAND, 2, MEMORY)
  assert.deepEqual([portRanges(), ranges()], [[], [[0xfea0_0000, 4096]]])
  pci.configWrite(COMMAND, 2, IO)
  assert.deepEqual([portRanges(), ranges()], [[[0xc060, 8]], []])
  ports.write(0xc063, 1, 0x83)
  assert.equal(pci.bars[0]?.device.read(3, 1), 0x83)
  assert.equal(ports.read(0xc063, 4), 0x83, 'the last port and those after it')
  pci.configWrite(BAR_0, 4, 0xd001)
  assert.deepEqual(portRanges(), [[0xd000, 8]])
})

test('an I/O BAR does not answer at ports of the board, or where there are no ports', () => {
  const { plug, portRanges } = makeRoot()
  const pci = plug(3, bar({ kind: 'io', size: 8 }))
  pci.configWrite(COMMAND, 2, IO)
  for (const address of [0, 0x60, 0xcf8, 0xff8, 0x1_0000, 0xc000_c000, 0xffff_fff8]) {
    pci.configWrite(BAR_0, 4, address)
    assert.deepEqual(portRanges(), [], address.toString(16))
  }
  pci.configWrite(BAR_0, 4, 0x1000)
  assert.deepEqual(portRanges(), [[0x1000, 8]])
})

test('a BAR that covers RAM or another BAR does not answer until it is elsewhere, or its range is free', () => {
  const { memory, plug, ranges } = makeRoot()
  const [a, b] = [plug(3, bar({ size: 0x10000 })), plug(4, bar())]
  for (const pci of [a, b]) pci.configWrite(COMMAND, 2, MEMORY)
  b.configWrite(BAR_0, 4, 0x00ff_f000)
  assert.equal(memory.read(0x00ff_f000, 1), 0x11, 'RAM')
  assert.deepEqual(ranges(), [])
  b.configWrite(BAR_0, 4, 0xe000_2000)
  a.configWrite(BAR_0, 4, 0xe000_0000)
  assert.deepEqual(ranges(), [[0xe000_2000, 4096]], 'the first one stays')
  a.configWrite(BAR_0, 4, 0xe001_0000)
  assert.equal(ranges().length, 2)
  b.configWrite(BAR_0, 4, 0xe001_f000)
  assert.deepEqual(ranges(), [[0xe001_0000, 0x10000]])
  a.configWrite(COMMAND, 2, 0)
  assert.deepEqual(ranges(), [[0xe001_f000, 4096]], 'its range is free now')
})

test('functions that assert one line share it', () => {
  const { levels, plug } = makeRoot()
  const [a, b] = [plug(1, bar()), plug(5, bar())]
  a.bus.setInterruptLine(true)
  b.bus.setInterruptLine(true)
  a.bus.setInterruptLine(false)
  assert.deepEqual(levels, [false, true, false, false])
  b.bus.setInterruptLine(false)
  assert.deepEqual(levels, [false, false, false, false])
})

test('there are 32 slots of 8 functions, and reads of an absent function return all ones', () => {
  const { root, plug } = makeRoot()
  const pci = plug(31, bar())
  assert.equal(root.configRead(31, 0, 0, 4), pci.configRead(0, 4))
  for (const [slot, number] of [
    [30, 0],
    [31, 1],
    [31, 8],
    [32, 0],
  ]) {
    assert.equal(root.has(slot, number), false)
    assert.equal(root.configRead(slot, number, 0, 4), 0xffff_ffff)
    assert.equal(root.configRead(slot, number, 0, 2), 0xffff)
    root.configWrite(slot, number, COMMAND, 2, MEMORY)
  }
  for (const slot of [31, 32, -1, 1.5]) assert.throws(() => plug(slot, bar()), RangeError)
  for (const number of [8, -1, 0.5]) {
    assert.throws(() => root.plug(3, (bus) => new MemoryFunction(bus, []), number), RangeError)
  }
})

test('function 0 of a slot with several functions says so in its header type  @pci 6.2.1', () => {
  const { root, plug } = makeRoot()
  plug(3, bar())
  assert.equal(root.configRead(3, 0, 0x0e, 1), 0)
  root.plug(3, (bus) => new MemoryFunction(bus, [bar()]), 5)
  assert.equal(root.configRead(3, 0, 0x0e, 1), 0x80)
  assert.equal(root.configRead(3, 0, 0x0c, 4), 0x0080_0000)
  assert.equal(root.configRead(3, 0, 0x0f, 1), 0)
  assert.equal(root.configRead(3, 5, 0x0e, 1), 0)
})

test('functions of a slot have their own registers, BARs and interrupt pins', () => {
  const { root, levels, ranges } = makeRoot()
  const [first, second] = [1, 2].map((pin, number) =>
    root.plug(3, (bus) => new MemoryFunction(bus, [bar()], pin as 1 | 2), number),
  )
  root.configWrite(3, 0, BAR_0, 4, 0xfea0_0000)
  root.configWrite(3, 1, BAR_0, 4, 0xfeb0_0000)
  for (const number of [0, 1]) root.configWrite(3, number, COMMAND, 2, MEMORY)
  assert.deepEqual(ranges(), [
    [0xfea0_0000, 4096],
    [0xfeb0_0000, 4096],
  ])
  second.bus.setInterruptLine(true)
  assert.deepEqual(levels, [true, false, false, false], 'INTB of slot 3')
  first.bus.setInterruptLine(true)
  assert.deepEqual(levels, [true, false, false, true], 'INTA of slot 3')
})
