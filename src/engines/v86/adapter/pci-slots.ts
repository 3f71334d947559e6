import type { PciBus, PciFunction } from '../../../pci/pci-function.ts'
import type { V86Cpu } from './internals.ts'
import { InterruptLines } from './interrupt-lines.ts'

/** v86 maps memory in blocks of 128 KiB. */
const BLOCK_SHIFT = 17
const ALL_ONES = 0xffff_ffff

/** A decoded BAR. */
interface Window {
  readonly start: number
  readonly end: number
  readonly pci: PciFunction
  readonly bar: number
}

/** What v86 had in a block before a BAR of ours came there. */
interface Block {
  readonly index: number
  readonly read8: (address: number) => number
  readonly write8: (address: number, value: number) => void
  readonly read32: (address: number) => number
  readonly write32: (address: number, value: number) => void
}

/**
 * Slots of v86's PCI bus that hold functions of ours: configuration accesses, BARs wherever the firmware puts them, and
 * interrupt pins.
 *
 *     const slots = new PciSlots(cpu)
 *     slots.plug(8, (bus) => new VirtioPciFunction(device, bus, { memory, log }))
 */
export class PciSlots {
  readonly #cpu: V86Cpu
  readonly #lines: InterruptLines
  /** By slot number. */
  readonly #functions: (PciFunction | undefined)[] = new Array(32).fill(undefined)
  #windows: Window[] = []
  /** The window used last: mostly the next one too. */
  #last: Window | undefined
  #blocks: Block[] = []

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu
    this.#lines = new InterruptLines(cpu)
    this.#takeConfiguration()
    this.#takeWideWrites()
  }

  /** Puts a function into a slot that v86 leaves free. */
  plug<Function extends PciFunction>(slot: number, create: (bus: PciBus) => Function): Function {
    const bus: PciBus = {
      setInterruptLine: (asserted) => this.#lines.set(slot, asserted),
      barsChanged: () => this.#mapBars(),
    }
    const pci = create(bus)
    this.#functions[slot] = pci
    return pci
  }

  /** Runs what emulated code waits for. */
  #callback<T>(serve: () => T): T {
    this.#lines.callbacks++
    try {
      return serve()
    } finally {
      this.#lines.callbacks--
    }
  }

  /** Configuration accesses to our slots do not reach v86's own tables. */
  #takeConfiguration(): void {
    const pci = this.#cpu.devices.pci
    const query = pci.pci_query.bind(pci)
    pci.pci_query = () => {
      const found = this.#functionAt((pci.pci_addr[2] << 8) | pci.pci_addr[1])
      if (!found) return query()
      pci.pci_status32[0] = 0x8000_0000 | 0
      pci.pci_response32[0] = this.#callback(() => found.configRead(pci.pci_addr[0] & 0xfc, 4)) | 0
    }
    const take = (name: 'pci_write8' | 'pci_write16' | 'pci_write32', width: number) => {
      const own = pci[name].bind(pci)
      pci[name] = (address, value) => {
        const bdf = (address >> 8) & 0xffff
        const found = this.#functionAt(bdf)
        if (found) this.#callback(() => found.configWrite(address & 0xff, width, value >>> 0))
        // v86 does not expect writes to slots where nothing is.
        else if (pci.device_spaces[bdf]) this.#callback(() => this.#ownWrite(own, address, value))
      }
    }
    take('pci_write8', 1)
    take('pci_write16', 2)
    take('pci_write32', 4)
  }

  /** A write to a function of v86's, which may be the bridge that routes interrupts. */
  #ownWrite(write: (address: number, value: number) => void, address: number, value: number): void {
    write(address, value)
    this.#lines.update()
  }

  #functionAt(bdf: number): PciFunction | undefined {
    return bdf < 256 && (bdf & 7) === 0 ? this.#functions[bdf >> 3] : undefined
  }

  /** A 16-bit write is one write here, not two of bytes. */
  #takeWideWrites(): void {
    const cpu = this.#cpu
    const split = cpu.mmap_write16.bind(cpu)
    cpu.mmap_write16 = (address, value) => {
      const window = this.#windowAt(address >>> 0)
      if (window) this.#write(address >>> 0, 2, value)
      else split(address, value)
    }
  }

  /** Follows the BARs: decoding went on or off, or the firmware moved one. */
  #mapBars(): void {
    this.#windows = []
    this.#last = undefined
    for (const pci of this.#functions) {
      pci?.bars.forEach((bar, index) => {
        if (bar?.decoded) this.#windows.push({ start: bar.address, end: bar.address + bar.size, pci, bar: index })
      })
    }
    const wanted = new Set<number>()
    for (const { start, end } of this.#windows) {
      for (let block = Math.floor(start / 2 ** BLOCK_SHIFT); block * 2 ** BLOCK_SHIFT < end; block++) wanted.add(block)
    }
    for (const block of this.#blocks.filter(({ index }) => !wanted.delete(index))) this.#unmap(block)
    for (const index of wanted) this.#map(index)
  }

  #map(index: number): void {
    const cpu = this.#cpu
    // Above 4 GiB this processor has no addresses, and below the end of memory no callback.
    if (index >= cpu.memory_map_read8.length || index * 2 ** BLOCK_SHIFT < cpu.memory_size[0] >>> 0) return
    this.#blocks.push({
      index,
      read8: cpu.memory_map_read8[index],
      write8: cpu.memory_map_write8[index],
      read32: cpu.memory_map_read32[index],
      write32: cpu.memory_map_write32[index],
    })
    cpu.memory_map_read8[index] = (address) => this.#read(address >>> 0, 1)
    cpu.memory_map_write8[index] = (address, value) => this.#write(address >>> 0, 1, value)
    cpu.memory_map_read32[index] = (address) => this.#read(address >>> 0, 4) | 0
    cpu.memory_map_write32[index] = (address, value) => this.#write(address >>> 0, 4, value >>> 0)
  }

  #unmap(block: Block): void {
    const cpu = this.#cpu
    cpu.memory_map_read8[block.index] = block.read8
    cpu.memory_map_write8[block.index] = block.write8
    cpu.memory_map_read32[block.index] = block.read32
    cpu.memory_map_write32[block.index] = block.write32
    this.#blocks = this.#blocks.filter((other) => other !== block)
  }

  #windowAt(address: number): Window | undefined {
    const last = this.#last
    if (last && address >= last.start && address < last.end) return last
    for (const window of this.#windows) {
      if (address >= window.start && address < window.end) {
        this.#last = window
        return window
      }
    }
    return undefined
  }

  #read(address: number, width: number): number {
    const window = this.#windowAt(address)
    if (!window) return width === 4 ? ALL_ONES : 0xff
    this.#lines.callbacks++
    try {
      return window.pci.barRead(window.bar, address - window.start, width)
    } finally {
      this.#lines.callbacks--
    }
  }

  #write(address: number, width: number, value: number): void {
    const window = this.#windowAt(address)
    if (!window) return
    this.#lines.callbacks++
    try {
      window.pci.barWrite(window.bar, address - window.start, width, value)
    } finally {
      this.#lines.callbacks--
    }
  }
}
