import type { AddressBus, AddressRange } from '../bus/address-bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import type { PciBar, PciBus, PciFunction } from './pci-function.ts'

const SLOTS = 32
/** Lowest address of an I/O BAR: the ports below are those of the board. */
const FIRST_PORT = 0x1000

/** What a PCI root is connected to. */
export interface PciRootOptions {
  /** Memory addresses, on which memory BARs are placed. */
  readonly memory: AddressBus
  /** I/O ports, on which I/O BARs are placed. */
  readonly ports: AddressBus
  /** Returns the line that the interrupt pin of the function in a slot is connected to. */
  readonly interruptLine: (slot: number) => InterruptLine
}

/** BAR of a function, and where it is on the address bus; undefined if it is not decoded, or its range is not free. */
interface PlacedBar {
  readonly bar: PciBar
  readonly bus: AddressBus
  range: AddressRange | undefined
}

/**
 * PCI bus 0: configuration accesses reach the function in a slot, and BARs are on the address buses while they are
 * decoded.
 *
 *     const root = new PciRoot({ memory, ports, interruptLine: (slot) => lines[slot % 4].source() })
 *     root.plug(8, (bus) => new VirtioPciFunction(device, bus, { memory: guestMemory, log }))
 *     root.functionAt(8)?.configWrite(0x10, 4, 0xfea0_0000)   // BAR 0
 *     root.functionAt(8)?.configWrite(0x04, 2, 0x0006)        // memory decoding on
 *     memory.read(0xfea0_0012, 2)                             // num_queues
 *
 * A BAR whose range is taken, by another BAR or by any other device, is not placed until the range is free: a driver
 * cannot cover one device by another. I/O BARs are not placed below 0x1000, where the board has its ports.
 */
export class PciRoot {
  /** By slot. */
  readonly #functions: (PciFunction | undefined)[] = new Array(SLOTS).fill(undefined)
  /** In the order in which functions were plugged. */
  readonly #bars: PlacedBar[] = []

  constructor(private readonly options: PciRootOptions) {}

  /** Puts a function into a free slot. @throws {RangeError} if there is no such slot, or it is taken */
  plug<Function extends PciFunction>(slot: number, create: (bus: PciBus) => Function): Function {
    if (!(slot in this.#functions) || this.#functions[slot]) throw new RangeError(`slot ${slot} is not free`)
    const line = this.options.interruptLine(slot)
    const pci = create({
      setInterruptLine: (asserted) => line.set(asserted),
      barsChanged: () => this.#placeBars(),
    })
    this.#functions[slot] = pci
    for (const bar of [...pci.bars, pci.rom]) {
      if (!bar) continue
      const { memory, ports } = this.options
      this.#bars.push({ bar, bus: bar.kind === 'io' ? ports : memory, range: undefined })
    }
    this.#placeBars()
    return pci
  }

  functionAt(slot: number): PciFunction | undefined {
    return this.#functions[slot]
  }

  /** Moves BARs on the address buses to where they are decoded now. */
  #placeBars(): void {
    for (const placed of this.#bars) {
      const { bar, bus, range } = placed
      if (!range || (bar.decoded && bar.address === range.start)) continue
      bus.remove(range)
      placed.range = undefined
    }
    for (const placed of this.#bars) {
      const { bar, bus, range } = placed
      if (range || !bar.decoded) continue
      const wanted = { start: bar.address, size: bar.size }
      if (bar.kind === 'io' && bar.address < FIRST_PORT) continue
      if (!bus.isFree(wanted)) continue
      bus.insert(wanted, bar.device)
      placed.range = wanted
    }
  }
}
