import type { BusDevice } from '../../bus/bus-device.ts'
import type { BaseAddressRequest } from '../base-address.ts'
import type { ExtendedCapability } from '../capability.ts'
import { ConfigurationSpace } from '../configuration-space.ts'
import type { PciBus, PciFunction } from '../pci-function.ts'

const IDENTITY = { vendor: 0x1234, device: 0x11e8, revision: 0, classCode: 0xff0000, subsystemVendor: 0, subsystem: 0 }

/** BAR of a `MemoryFunction`. */
export type MemoryBar = Omit<BaseAddressRequest, 'device'>

/** Bytes that are written and read, however many there seem to be: those of the first 256. */
class SmallMemory implements BusDevice {
  readonly bytes = new Uint8Array(256)

  read(offset: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) value |= this.bytes[(offset + i) & 0xff] << (8 * i)
    return value >>> 0
  }

  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) this.bytes[(offset + i) & 0xff] = value >>> (8 * i)
  }
}

/**
 * PCI function whose BARs are memory.
 *
 *     const pci = new MemoryFunction(bus, [{ index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0 }])
 *     pci.configWrite(0x10, 4, 0xfea0_0000)
 *     pci.configWrite(4, 2, 2)
 */
export class MemoryFunction implements PciFunction {
  readonly name = 'memory'
  readonly space: ConfigurationSpace
  readonly bars: PciFunction['bars']
  readonly rom: PciFunction['rom']

  constructor(
    readonly bus: PciBus,
    bars: readonly MemoryBar[],
    interruptPin: 1 | 2 | 3 | 4 = 1,
    extended: readonly ExtendedCapability[] = [],
  ) {
    const requests = bars.map((bar) => ({ ...bar, device: new SmallMemory() }))
    this.space = new ConfigurationSpace(
      { ...IDENTITY, interruptPin },
      requests,
      [],
      (mapped) => {
        if (mapped) bus.barsChanged?.()
      },
      extended,
    )
    this.bars = this.space.bars
    this.rom = this.space.rom
  }

  get configSize(): number {
    return this.space.size
  }

  configRead(offset: number, width: number): number {
    return this.space.read(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.space.write(offset, width, value)
  }

  reset(): void {
    this.space.reset()
  }
}
