import { AddressBus, type AddressRange } from '../../../bus/address-bus.ts'
import type { V86Cpu, V86Port } from './internals.ts'
import type { InterruptLines } from './interrupt-lines.ts'

/** I/O ports of the emulated PC: v86 passes on the accesses to every port that is in a range of the bus. */
export class MappedPorts {
  readonly bus = new AddressBus({
    name: 'I/O ports',
    size: 0x10000,
    onChange: (range, inserted) => this.#rangeChanged(range, inserted),
  })
  /** What v86 had at the ports of the bus before, by number. */
  readonly #replaced = new Map<number, V86Port>()

  constructor(
    private readonly cpu: V86Cpu,
    private readonly lines: InterruptLines,
  ) {}

  #rangeChanged({ start, size }: AddressRange, inserted: boolean): void {
    const { ports } = this.cpu.io
    for (let port = start; port < start + size; port++) {
      const before = this.#replaced.get(port)
      if (inserted) {
        this.#replaced.set(port, ports[port])
        ports[port] = this.#portAt(port)
      } else if (before) {
        this.#replaced.delete(port)
        ports[port] = before
      }
    }
  }

  #portAt(port: number): V86Port {
    return {
      device: undefined,
      read8: () => this.#read(port, 1),
      read16: () => this.#read(port, 2),
      read32: () => this.#read(port, 4) | 0,
      write8: (value) => this.#write(port, 1, value),
      write16: (value) => this.#write(port, 2, value),
      write32: (value) => this.#write(port, 4, value >>> 0),
    }
  }

  #read(port: number, width: number): number {
    this.lines.callbacks++
    try {
      return this.bus.read(port, width)
    } finally {
      this.lines.callbacks--
    }
  }

  #write(port: number, width: number, value: number): void {
    this.lines.callbacks++
    try {
      this.bus.write(port, width, value)
    } finally {
      this.lines.callbacks--
    }
  }
}
