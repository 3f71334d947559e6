import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { ConfigurationSpace } from '../../pci/configuration-space.ts'
import { Msi } from '../../pci/msi.ts'
import type { PciBus, PciFunction } from '../../pci/pci-function.ts'
import { IrqIndex, IrqSet, RegionIndex } from './protocol.ts'
import { VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false
const IDENTITY = { vendor: 0x1234, device: 0x11e9, revision: 0, classCode: 0xff0000, subsystemVendor: 0, subsystem: 0 }
const MSI_CONTROL = 0x42
const [VECTORS, ENABLE_ALL] = [4, 0x21]
const SERIAL_NUMBER = { id: 3, body: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }

/** Function with MSI and an extended capability. */
class ExpressFunction implements PciFunction {
  readonly name = 'express'
  readonly bars = []
  readonly msi: Msi
  readonly #space: ConfigurationSpace

  constructor(bus: PciBus) {
    this.msi = new Msi(VECTORS, bus)
    const changed = () => this.msi.hold(!this.#space.busMaster)
    this.#space = new ConfigurationSpace(IDENTITY, [], [this.msi.capability], changed, [SERIAL_NUMBER])
  }

  get configSize(): number {
    return this.#space.size
  }

  configRead(offset: number, width: number): number {
    return this.#space.read(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#space.write(offset, width, value)
  }

  retryVectors(): void {
    this.msi.retry()
  }

  reset(): void {
    this.#space.reset()
  }
}

function plugged(): { rig: VfioUserRig; pci: ExpressFunction } {
  let pci: ExpressFunction | undefined
  const rig = new VfioUserRig((bus) => {
    pci = new ExpressFunction(bus)
    return pci
  })
  rig.greet()
  assert.ok(pci)
  return { rig, pci }
}

test('the configuration region of a PCI Express function has 4096 bytes', { skip }, async () => {
  const { rig } = plugged()
  const region = RegionIndex.CONFIG
  const info = { argsz: 32, flags: 0, index: region, capOffset: 0, size: 0, offset: 0, bytes: new Uint8Array(0) }
  assert.equal(rig.client.ask('DEVICE_GET_REGION_INFO', info).value.size, 4096)
  const { bytes } = rig.client.ask('REGION_READ', { region, offset: 0x100, count: 8 }).value
  assert.deepEqual([...bytes], [3, 0, 1, 0, 1, 2, 3, 4])
  await rig.close()
})

test('MSI vectors signal the events of the client, and wait while they have none', { skip }, async () => {
  const { rig, pci } = plugged()
  const request = { argsz: 16, flags: 0, index: IrqIndex.MSI, count: 0, bytes: new Uint8Array(0) }
  assert.equal(rig.client.ask('DEVICE_GET_IRQ_INFO', request).value.count, VECTORS)
  const write = (offset: number, value: number) => {
    const bytes = Uint8Array.of(value & 0xff, value >> 8)
    rig.client.ask('REGION_WRITE', { region: RegionIndex.CONFIG, offset, count: 2, bytes })
  }
  write(4, 4)
  write(MSI_CONTROL, ENABLE_ALL)
  pci.msi.signal(3)
  const events = rig.listen(IrqIndex.MSI, VECTORS)
  rig.reactor.turn()
  assert.deepEqual(
    events.map((event) => event.drain()),
    [0, 0, 0, 1],
  )
  rig.setIrqs(IrqSet.DATA_NONE | IrqSet.ACTION_MASK, IrqIndex.MSI, 1, 1)
  for (const vector of [0, 1]) pci.msi.signal(vector)
  rig.reactor.turn()
  assert.deepEqual(
    events.map((event) => event.drain()),
    [1, 0, 0, 0],
  )
  rig.setIrqs(IrqSet.DATA_NONE | IrqSet.ACTION_UNMASK, IrqIndex.MSI, 1, 1)
  rig.reactor.turn()
  assert.equal(events[1].drain(), 1)
  await rig.close()
})
