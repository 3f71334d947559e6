import type { PciBar, PciFunction } from '../../../pci/pci-function.ts'
import { RegionIndex } from '../protocol.ts'
import type { Client } from './client.ts'

/** Function behind vfio-user, as the client's PCI bus uses it. */
export class RemoteFunction implements PciFunction {
  readonly name = 'remote'
  readonly bars: readonly (PciBar | undefined)[]

  constructor(private readonly client: Client) {
    this.bars = [0, 1, 2, 3, 4, 5].map((index) => {
      const info = { argsz: 32, flags: 0, index, capOffset: 0, size: 0, offset: 0, bytes: new Uint8Array(0) }
      const { value, descriptors } = client.ask('DEVICE_GET_REGION_INFO', info)
      for (const descriptor of descriptors) descriptor.close()
      if (value.size === 0) return undefined
      const low = this.configRead(0x10 + 4 * index, 4)
      const kind = (low & 1) === 1 ? 'io' : (low & 6) === 4 ? 'memory64' : 'memory32'
      const device = {
        read: (offset: number, width: number) => this.#read(index, offset, width),
        write: (offset: number, width: number, value: number) => this.#write(index, offset, width, value),
      }
      return { size: value.size, kind, prefetchable: (low & 9) === 8, address: 0, decoded: true, device }
    })
  }

  configRead(offset: number, width: number): number {
    return this.#read(RegionIndex.CONFIG, offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#write(RegionIndex.CONFIG, offset, width, value)
  }

  reset(): void {
    this.client.ask('DEVICE_RESET', undefined)
  }

  #read(region: number, offset: number, count: number): number {
    const { bytes } = this.client.ask('REGION_READ', { offset, region, count }).value
    return bytes.reduceRight((value, byte) => value * 256 + byte, 0)
  }

  #write(region: number, offset: number, count: number, value: number): void {
    const bytes = Uint8Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (8 * i)))
    this.client.ask('REGION_WRITE', { offset, region, count, bytes })
  }
}
