import {
  type BusDevice,
  ConfigurationSpace,
  type GuestMemory,
  type PciBus,
  type PciFunction,
  SpanList,
} from '../src/index.ts'

const IDENTITY = { vendor: 0x1234, device: 0x5041, revision: 1, classCode: 0xff0000, subsystemVendor: 0, subsystem: 0 }
const BAR = { index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0 } as const

/** Of 32 bits, one after another. Writing the length starts; a status interrupts until it is written to. */
const Register = { ADDRESS_LO: 0, ADDRESS_HI: 1, PATTERN: 2, LENGTH: 3, STATUS: 4 } as const
const Status = { IDLE: 0, DONE: 1, FAILED: 2 } as const
const MAX_BYTES = 1 << 20

/** Fills guest memory with a byte, then interrupts: a PCI device that is not virtio. */
export class PatternFunction implements PciFunction, BusDevice {
  readonly name = 'pattern'
  readonly #space = new ConfigurationSpace(IDENTITY, [{ ...BAR, device: this }], [], () => this.#updateInterrupt())
  readonly bars = this.#space.bars
  readonly #registers = new Uint32Array(5)
  readonly #spans = new SpanList()

  constructor(
    private readonly bus: PciBus,
    private readonly memory: GuestMemory,
  ) {}

  configRead(offset: number, width: number): number {
    return this.#space.read(offset, width)
  }

  configWrite(offset: number, width: number, value: number): void {
    this.#space.write(offset, width, value)
  }

  read(offset: number, width: number): number {
    return width === 4 ? (this.#registers[offset >>> 2] ?? 0) : 0
  }

  write(offset: number, width: number, value: number): void {
    if (width !== 4) return
    const register = offset >>> 2
    this.#registers[register] = register === Register.STATUS ? Status.IDLE : value
    if (register === Register.LENGTH) this.#registers[Register.STATUS] = this.#fill() ? Status.DONE : Status.FAILED
    this.#updateInterrupt()
  }

  reset(): void {
    this.#registers.fill(0)
    this.#space.reset()
  }

  /** @returns false where it may not reach memory, or that is none */
  #fill(): boolean {
    const [low, high, pattern, length] = this.#registers
    const spans = this.#spans
    spans.clear()
    if (!this.#space.busMaster || length > MAX_BYTES) return false
    if (!this.memory.translate(low + high * 2 ** 32, length, spans)) return false
    const { count, regions, offsets, lengths } = spans
    for (let i = 0; i < count; i++) {
      regions[i].u8.fill(pattern, offsets[i], offsets[i] + lengths[i])
      this.memory.wrote(regions[i], offsets[i], lengths[i])
    }
    return true
  }

  #updateInterrupt(): void {
    const pending = this.#registers[Register.STATUS] !== Status.IDLE
    this.#space.interruptStatus = pending
    this.bus.setInterruptLine(pending && !this.#space.interruptDisabled)
  }
}
