import type { AddressBus, AddressRange } from '../bus/address-bus.ts'
import type { InterruptLine } from '../bus/interrupt-line.ts'
import type { PciBar, PciBus, PciFunction } from './pci-function.ts'

const SLOTS = 32
/** Functions of a slot. */
const FUNCTIONS = 8
const HEADER_TYPE = 0x0e
const MULTIFUNCTION = 0x80
const INTERRUPT_PIN = 0x3d
/** Lowest address of an I/O BAR: the ports below are those of the board. */
const FIRST_PORT = 0x1000

/** What a PCI root is connected to. */
export interface PciRootOptions {
  /** Memory addresses, on which memory BARs are placed. */
  readonly memory: AddressBus
  /** I/O ports, on which I/O BARs are placed. */
  readonly ports: AddressBus
  /** Returns the line that an interrupt pin of a slot is connected to. @param pin 0 for INTA to 3 for INTD */
  readonly interruptLine: (slot: number, pin: number) => InterruptLine
}

/** BAR of a function, and where it is on the address bus; undefined if it is not decoded, or its range is not free. */
interface PlacedBar {
  readonly bar: PciBar
  readonly bus: AddressBus
  range: AddressRange | undefined
}

/**
 * PCI bus 0: configuration accesses reach the functions of 32 slots, and BARs are on the address buses while they are
 * decoded.
 *
 *     const root = new PciRoot({ memory, ports, interruptLine: (slot, pin) => lines[(slot + pin) % 4].source() })
 *     root.plug(8, (bus) => new VirtioPciFunction(device, bus, { memory: guestMemory, log }))
 *     root.configWrite(8, 0, 0x10, 4, 0xfea0_0000)            // BAR 0 of function 0 in slot 8
 *     root.configWrite(8, 0, 0x04, 2, 0x0006)                 // memory decoding on
 *     memory.read(0xfea0_0012, 2)                             // num_queues
 *
 * A BAR whose range is taken, by another BAR or by any other device, is not placed until the range is free: a driver
 * cannot cover one device by another. I/O BARs are not placed below 0x1000, where the board has its ports.
 */
export class PciRoot {
  /** By slot and function number. */
  readonly #functions: (PciFunction | undefined)[] = new Array(SLOTS * FUNCTIONS).fill(undefined)
  /** In the order in which functions were plugged. */
  readonly #bars: PlacedBar[] = []

  constructor(private readonly options: PciRootOptions) {}

  /**
   * Plugs a function into a slot. A driver finds further functions of a slot only if function 0 exists.
   * @param number 0 to 7. @default 0
   * @throws {RangeError} if there is no such place, or it is taken
   */
  plug<Function extends PciFunction>(slot: number, create: (bus: PciBus) => Function, number = 0): Function {
    const place = placeOf(slot, number)
    if (!(place in this.#functions) || this.#functions[place]) {
      throw new RangeError(`slot ${slot} has no free function ${number}`)
    }
    let line: InterruptLine | undefined
    const pci = create({
      // The function may set its pin before it is known which one it has.
      setInterruptLine: (asserted) => line?.set(asserted),
      barsChanged: () => this.#placeBars(),
    })
    this.#functions[place] = pci
    const pin = pci.configRead(INTERRUPT_PIN, 1)
    if (pin !== 0) line = this.options.interruptLine(slot, pin - 1)
    for (const bar of [...pci.bars, pci.rom]) {
      if (!bar) continue
      const { memory, ports } = this.options
      this.#bars.push({ bar, bus: bar.kind === 'io' ? ports : memory, range: undefined })
    }
    this.#placeBars()
    return pci
  }

  /** True if there is a function at this place. */
  has(slot: number, number: number): boolean {
    return this.#functions[placeOf(slot, number)] !== undefined
  }

  /** Reads `width` (1, 2 or 4) bytes of the configuration space of a function; all ones if there is none. */
  configRead(slot: number, number: number, offset: number, width: number): number {
    const pci = this.#functions[placeOf(slot, number)]
    if (!pci) return 2 ** (8 * width) - 1
    const value = pci.configRead(offset, width)
    if (number !== 0 || offset > HEADER_TYPE || offset + width <= HEADER_TYPE || !this.#isMultifunction(slot)) {
      return value
    }
    return (value | (MULTIFUNCTION << (8 * (HEADER_TYPE - offset)))) >>> 0
  }

  /** Writes to the configuration space of a function. Ignored if there is none. */
  configWrite(slot: number, number: number, offset: number, width: number, value: number): void {
    this.#functions[placeOf(slot, number)]?.configWrite(offset, width, value)
  }

  /** True if a slot has more than function 0. @pci 6.2.1 */
  #isMultifunction(slot: number): boolean {
    const first = placeOf(slot, 0)
    return this.#functions.slice(first + 1, first + FUNCTIONS).some((pci) => pci !== undefined)
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

/** Returns the index of a function; -1 if there is no such place. */
function placeOf(slot: number, number: number): number {
  const valid = Number.isInteger(slot) && slot >= 0 && slot < SLOTS && number >= 0 && number < FUNCTIONS
  return valid ? slot * FUNCTIONS + number : -1
}
