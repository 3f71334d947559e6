import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { ConfigSpace } from '../../virtio/config-space.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { CfgType, sharedMemoryCapability } from './structure-capability.ts'
import { EchoMachine } from './testing/echo-machine.ts'
import { CommonField } from './testing/virtio-pci-driver.ts'

const VENDOR = 9
/** Length of each capability by type, in bytes. */
const CAP_LEN = { 1: 16, 2: 20, 3: 16, 4: 16, 5: 20, 8: 24 } as const

/** Driver's use of the PCI configuration access capability. */
class Window {
  readonly #at: number

  constructor(readonly machine: EchoMachine) {
    this.#at = machine.driver.capability(CfgType.PCI_CFG).at
  }

  aim(bar: number, offset: number, length: number): void {
    this.machine.pci.configWrite(this.#at + 4, 1, bar)
    this.machine.pci.configWrite(this.#at + 8, 4, offset)
    this.machine.pci.configWrite(this.#at + 12, 4, length)
  }

  read(bar: number, offset: number, length: number): number {
    this.aim(bar, offset, length)
    return this.machine.pci.configRead(this.#at + 16, length)
  }

  write(bar: number, offset: number, length: number, value: number): void {
    this.aim(bar, offset, length)
    this.machine.pci.configWrite(this.#at + 16, length, value)
  }

  /** Reads the data field, which performs an access. */
  data(): number {
    return this.machine.pci.configRead(this.#at + 16, 4)
  }
}

test('each structure has a capability with its length, within its BAR  @virtio 4.1.4', () => {
  const device = new EchoDevice({ sharedMemory: [{ id: 1, memory: MemoryRegion.over(0, new Uint8Array(4096)) }] })
  const { pci, driver } = new EchoMachine({ device, messages: true })
  const structures = driver.capabilities.filter(({ id }) => id === VENDOR)
  assert.deepEqual(
    structures.map(({ type }) => type),
    [1, 2, 3, 4, 8, 5],
  )
  for (const { at, type, bar, offset, length } of structures) {
    assert.equal(pci.configRead(at + 2, 1), CAP_LEN[type as CfgType], `cap_len of type ${type}`)
    if (type !== CfgType.PCI_CFG) assert.ok(offset + length <= (pci.bars[bar]?.size ?? 0), `type ${type}`)
  }
})

test('the common and device structures are aligned to 4 bytes, notifications to 2  @virtio 4.1.4.3.1', () => {
  const { driver } = new EchoMachine()
  assert.equal(driver.capability(CfgType.COMMON_CFG).offset % 4, 0)
  assert.equal(driver.capability(CfgType.DEVICE_CFG).offset % 4, 0)
  assert.equal(driver.capability(CfgType.NOTIFY_CFG).offset % 2, 0)
  assert.equal(driver.capability(CfgType.DEVICE_CFG).length, 12)
  assert.equal(driver.capability(CfgType.COMMON_CFG).length, 64)
})

for (const queueSizes of [[], [16], new Array<number>(300).fill(16)]) {
  test(`the notification structure has a register for each of ${queueSizes.length} queues  @virtio 4.1.4.4.1`, () => {
    const { pci, driver } = new EchoMachine({ device: new EchoDevice({ queueSizes }) })
    const { at, length } = driver.capability(CfgType.NOTIFY_CFG)
    const multiplier = pci.configRead(at + 16, 4)
    assert.equal(multiplier, 4)
    assert.ok(length >= 2)
    for (let queue = 0; queue < queueSizes.length; queue++) {
      driver.set('queue_select', queue)
      assert.ok(length >= driver.get('queue_notify_off') * multiplier + 2)
    }
  })
}

test('a device without configuration fields has no device configuration structure  @virtio 4.1.4.6', () => {
  const device = Object.assign(new EchoDevice(), { config: new ConfigSpace(0) })
  const { driver } = new EchoMachine({ device })
  assert.equal(
    driver.capabilities.some(({ type }) => type === CfgType.DEVICE_CFG),
    false,
  )
})

test('capabilities are read-only, except the configuration access capability  @virtio 4.1.4', () => {
  const { pci, driver } = new EchoMachine({ messages: true })
  for (const { at, type, id } of driver.capabilities) {
    if (id !== VENDOR || type === CfgType.PCI_CFG) continue
    const bytes = () => Array.from({ length: CAP_LEN[type as CfgType] }, (_, i) => pci.configRead(at + i, 1))
    const before = bytes()
    for (let i = 0; i < before.length; i++) pci.configWrite(at + i, 1, 0xff)
    assert.deepEqual(bytes(), before)
  }
})

test('shared memory regions have capabilities with their ids and are in a separate BAR  @virtio 4.1.4.7.1', () => {
  const first = MemoryRegion.over(0, new Uint8Array(4096).fill(1))
  const second = MemoryRegion.over(0, new Uint8Array(200_000).fill(2))
  const device = new EchoDevice({
    sharedMemory: [
      { id: 7, memory: first },
      { id: 9, memory: second },
    ],
  })
  const { pci, driver } = new EchoMachine({ device })
  const regions = driver.capabilities.filter(({ type }) => type === CfgType.SHARED_MEMORY_CFG)
  assert.deepEqual(
    regions.map(({ regionId, bar, offset, length }) => [regionId, bar, offset, length]),
    [
      [7, 2, 0, 4096],
      [9, 2, 65536, 200_000],
    ],
  )
  assert.deepEqual([pci.bars[2]?.kind, pci.bars[2]?.prefetchable, pci.bars[2]?.size], ['memory64', true, 1 << 19])
  assert.equal(driver.readBar(2, 4094, 4), 0x0101, 'bytes past the region read as 0')
  driver.writeBar(2, 65536, 4, 0xdead_beef)
  driver.writeBar(2, 4096, 4, 0xffff_ffff)
  assert.equal(driver.readBar(2, 4096, 4), 0)
  assert.deepEqual([...second.u8.slice(0, 5)], [0xef, 0xbe, 0xad, 0xde, 2])
  assert.equal(driver.readBar(2, 65536 + 1, 2), 0xadbe)
})

test('a monitor can map regions of one file whose distances in file and BAR are equal', () => {
  const region = (size: number, fd: number, offset: number) =>
    new MemoryRegion(0, size, () => new Uint8Array(size), { fd, offset })
  const mappable = (...memory: MemoryRegion[]) => {
    const device = new EchoDevice({ sharedMemory: memory.map((one, id) => ({ id, memory: one })) })
    return new EchoMachine({ device }).pci.bars[2]?.mappable
  }
  assert.deepEqual(mappable(region(4096, 5, 8192), region(8192, 5, 8192 + 65536), region(4096, 6, 8192 + 131072)), {
    fd: 5,
    offset: 8192,
    areas: [
      { offset: 0, size: 4096 },
      { offset: 65536, size: 8192 },
    ],
  })
  assert.equal(mappable(region(4096, 5, 4)), undefined)
  assert.equal(mappable(region(4100, 5, 0)), undefined)
  assert.equal(mappable(MemoryRegion.over(0, new Uint8Array(4096))), undefined)
})

test('a shared memory region can be larger than 4 GiB  @virtio 4.1.4.7', () => {
  const { body } = sharedMemoryCapability(3, { bar: 2, offset: 2 ** 32 + 16, length: 2 ** 33 + 32 })
  const view = new DataView(body.buffer)
  assert.deepEqual(
    [6, 14, 10, 18].map((at) => view.getUint32(at, true)),
    [16, 1, 32, 2],
  )
})

test('every field of the common structure reads the same through the access window and the BAR  @virtio 4.1.4.9.1', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  const window = new Window(machine)
  for (const [offset, width] of Object.values(CommonField)) {
    assert.equal(window.read(0, offset, width), machine.driver.readBar(0, offset, width))
  }
})

test('a device can be used through the access window alone, with memory decoding off  @virtio 4.1.4.9', async () => {
  const machine = new EchoMachine()
  const { pci, driver } = machine
  const window = new Window(machine)
  pci.configWrite(4, 2, 4)
  assert.equal(pci.bars[0]?.decoded, false)
  driver.readBar = (bar, offset, width) => window.read(bar, offset, width)
  driver.writeBar = (bar, offset, width, value) => window.write(bar, offset, width, value)
  await driver.start(featureSet(Feature.RING_PACKED))
  assert.deepEqual(machine.echo(0, [1, 2, 3]), [1, 2, 3])
  driver.writeConfig(4, 4, 0x1234_5678)
  assert.equal(driver.readConfig(4, 4), 0x1234_5678)
  assert.equal(driver.isr(), 1)
  assert.equal(machine.asserted, false)
})

test('the access window also reaches the MSI-X table and shared memory  @virtio 4.1.4.9.1', () => {
  const memory = MemoryRegion.over(0, new Uint8Array(4096))
  const machine = new EchoMachine({ device: new EchoDevice({ sharedMemory: [{ id: 0, memory }] }), messages: true })
  const window = new Window(machine)
  window.write(1, 8, 4, 0xabcd)
  assert.equal(machine.driver.readBar(1, 8, 4), 0xabcd)
  assert.equal(window.read(1, 8, 2), 0xabcd)
  window.write(2, 4092, 4, 0x0102_0304)
  assert.deepEqual([...memory.u8.slice(4092)], [4, 3, 2, 1])
  assert.equal(window.read(2, 4093, 1), 3)
})

test('an invalid access through the window is ignored  @virtio 4.1.4.9.2', () => {
  const machine = new EchoMachine()
  const window = new Window(machine)
  const { view } = machine.device.config
  for (let at = 0; at < view.byteLength; at++) view.setUint8(at, 0x55)
  const { offset: config } = machine.driver.capability(CfgType.DEVICE_CFG)
  for (const [bar, offset, length] of [
    [0, config, 0],
    [0, config, 3],
    [0, config, 8],
    [0, config, 0xffff_ffff],
    [0, config + 1, 4],
    [0, config + 2, 4],
    [0, config + 1, 2],
    [0, 2 ** 32 - 4, 4],
    [0, machine.pci.bars[0]?.size ?? 0, 1],
    [1, config, 4],
    [6, config, 4],
    [255, config, 4],
  ]) {
    window.write(bar, offset, length, 0x99)
    const what = `${length} bytes at ${offset} of BAR ${bar}`
    assert.notEqual(window.data() & 0xff, 0x55, what)
    for (let at = 0; at < view.byteLength; at++) assert.equal(view.getUint8(at), 0x55, what)
  }
})

test('one read of the data is one access; writing the location accesses nothing  @virtio 4.1.4.9.1', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  machine.send(0, [1])
  const { bar, offset } = machine.driver.capability(CfgType.ISR_CFG)
  const window = new Window(machine)
  window.aim(bar, offset, 1)
  assert.equal(machine.asserted, true, 'writing the location reads nothing')
  assert.equal(window.data() & 0xff, 1)
  assert.equal(window.data() & 0xff, 0)
})
