import { AddressBus, type AddressRange } from '../../../bus/address-bus.ts'
import type { V86Cpu } from './internals.ts'
import type { InterruptLines } from './interrupt-lines.ts'

/** v86 maps memory in blocks of 128 KiB. */
const BLOCK_SHIFT = 17
/** The processor has physical addresses of 32 bits. */
const ADDRESS_SPACE = 2 ** 32

/** Block with ranges of the bus, and what v86 had there before. */
interface Block {
  /** Number of ranges in it. */
  ranges: number
  readonly read8: (address: number) => number
  readonly write8: (address: number, value: number) => void
  readonly read32: (address: number) => number
  readonly write32: (address: number, value: number) => void
}

/** Memory bus of the emulated PC: v86 passes on the accesses to every block that a range of the bus lies in. */
export class MappedMemory {
  readonly bus = new AddressBus({
    name: 'memory',
    size: ADDRESS_SPACE,
    onChange: (range, inserted) => this.#rangeChanged(range, inserted),
  })
  /** By index. */
  readonly #blocks = new Map<number, Block>()

  constructor(
    private readonly cpu: V86Cpu,
    private readonly lines: InterruptLines,
  ) {
    // A 16-bit write is one write here, not two of bytes.
    const split = cpu.mmap_write16.bind(cpu)
    cpu.mmap_write16 = (address, value) => {
      if (this.#blocks.has(address >>> BLOCK_SHIFT)) this.#write(address >>> 0, 2, value)
      else split(address, value)
    }
  }

  #rangeChanged({ start, size }: AddressRange, inserted: boolean): void {
    const last = Math.floor((start + size - 1) / 2 ** BLOCK_SHIFT)
    for (let index = Math.floor(start / 2 ** BLOCK_SHIFT); index <= last; index++) {
      if (inserted) this.#enter(index)
      else this.#leave(index)
    }
  }

  #enter(index: number): void {
    const { cpu } = this
    const mapped = this.#blocks.get(index)
    if (mapped) {
      mapped.ranges++
      return
    }
    // Below the end of memory there are no callbacks.
    if (index * 2 ** BLOCK_SHIFT < cpu.memory_size[0] >>> 0) return
    this.#blocks.set(index, {
      ranges: 1,
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

  #leave(index: number): void {
    const { cpu } = this
    const block = this.#blocks.get(index)
    if (!block || --block.ranges > 0) return
    this.#blocks.delete(index)
    cpu.memory_map_read8[index] = block.read8
    cpu.memory_map_write8[index] = block.write8
    cpu.memory_map_read32[index] = block.read32
    cpu.memory_map_write32[index] = block.write32
  }

  #read(address: number, width: number): number {
    this.lines.callbacks++
    try {
      return this.bus.read(address, width)
    } finally {
      this.lines.callbacks--
    }
  }

  #write(address: number, width: number, value: number): void {
    this.lines.callbacks++
    try {
      this.bus.write(address, width, value)
    } finally {
      this.lines.callbacks--
    }
  }
}
