import type { PciBus, PciFunction } from '../../../pci/pci-function.ts'
import type { V86Cpu } from './internals.ts'
import { InterruptLines } from './interrupt-lines.ts'

/** Shift of v86's memory map, whose blocks have 128 KiB. */
const BLOCK_SHIFT = 17
const ALL_ONES = 0xffff_ffff

/** Address range of a decoded BAR. */
interface Window {
  readonly start: number
  readonly end: number
  readonly pci: PciFunction
  readonly bar: number
}

/** Callbacks of v86 for a block before one of our BARs was mapped there. */
interface Block {
  readonly index: number
  readonly read8: (address: number) => number
  readonly write8: (address: number, value: number) => void
  readonly read32: (address: number) => number
  readonly write32: (address: number, value: number) => void
}

/**
 * Slots of v86's PCI bus with our functions: configuration accesses, BARs at the addresses that the firmware assigns,
 * and interrupt pins.
 *
 *     const slots = new PciSlots(cpu)
 *     slots.plug(8, (bus) => new VirtioPciFunction(device, bus, { memory, log }))
 */
export class PciSlots {
  readonly #cpu: V86Cpu
  readonly #lines: InterruptLines
  /** Functions by slot number. */
  readonly #functions: (PciFunction | undefined)[] = new Array(32).fill(undefined)
  #windows: Window[] = []
  /** Window of the last access, which is likely the one of the next access. */
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

  /** Runs a callback from emulated code. */
  #callback<T>(serve: () => T): T {
    this.#lines.callbacks++
    try {
      return serve()
    } finally {
      this.#lines.callbacks--
    }
  }

  /** Redirects configuration accesses to our slots. */
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
        // v86 does not handle writes to empty slots.
        else if (pci.device_spaces[bdf]) this.#callback(() => this.#ownWrite(own, address, value))
      }
    }
    take('pci_write8', 1)
    take('pci_write16', 2)
    take('pci_write32', 4)
  }

  /** Writes to a function of v86, which may be the bridge that routes interrupts. */
  #ownWrite(write: (address: number, value: number) => void, address: number, value: number): void {
    write(address, value)
    this.#lines.update()
  }

  #functionAt(bdf: number): PciFunction | undefined {
    return bdf < 256 && (bdf & 7) === 0 ? this.#functions[bdf >> 3] : undefined
  }

  /** Passes a 16-bit write on as one write instead of two bytes. */
  #takeWideWrites(): void {
    const cpu = this.#cpu
    const split = cpu.mmap_write16.bind(cpu)
    cpu.mmap_write16 = (address, value) => {
      const window = this.#windowAt(address >>> 0)
      if (window) this.#write(address >>> 0, 2, value)
      else split(address, value)
    }
  }

  /** Updates the windows after decoding was switched on or off, or a BAR was moved. */
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
    // v86 supports no addresses above 4 GiB, and no callbacks below the end of memory.
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
