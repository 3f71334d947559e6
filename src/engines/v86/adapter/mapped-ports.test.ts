import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { V86Cpu, V86Port } from './internals.ts'
import { InterruptLines } from './interrupt-lines.ts'
import { MappedPorts } from './mapped-ports.ts'

/** Port without a device, as v86 has them. */
const EMPTY: V86Port = {
  device: undefined,
  read8: () => 0xff,
  read16: () => 0xffff,
  read32: () => -1,
  write8() {},
  write16() {},
  write32() {},
}

test('v86 passes on accesses of every width to the ports of a range, and has its own port back afterwards', () => {
  const ports = new Array<V86Port>(0x10000).fill(EMPTY)
  const cpu = { io: { ports } } as unknown as V86Cpu
  const lines = new InterruptLines(cpu)
  const { bus } = new MappedPorts(cpu, lines)
  const accesses: unknown[] = []
  const range = { start: 0xc060, size: 8 }
  bus.insert(range, {
    read(offset, width) {
      accesses.push([offset, width, lines.callbacks])
      return 0x8877_6655
    },
    write: (...access) => accesses.push(access),
  })
  assert.equal(ports[0xc05f], EMPTY)
  assert.equal(ports[0xc068], EMPTY)
  assert.equal(ports[0xc064].read32(), 0x8877_6655 | 0, 'signed')
  ports[0xc060].read8()
  ports[0xc062].read16()
  ports[0xc067].write8(1)
  ports[0xc066].write16(0xffff)
  ports[0xc064].write32(-2)
  assert.deepEqual(accesses, [
    [4, 4, 1],
    [0, 1, 1],
    [2, 2, 1],
    [7, 1, 1],
    [6, 2, 0xffff],
    [4, 4, 0xffff_fffe],
  ])
  assert.equal(lines.callbacks, 0)
  bus.remove(range)
  assert.ok(ports.every((port) => port === EMPTY))
})
