import { SharedLine } from '../../../bus/interrupt-line.ts'
import type { PciBus, PciFunction } from '../../../pci/pci-function.ts'
import { PciRoot } from '../../../pci/pci-root.ts'
import type { V86Cpu } from './internals.ts'
import { InterruptLines, PINS } from './interrupt-lines.ts'
import { MappedMemory } from './mapped-memory.ts'
import { MappedPorts } from './mapped-ports.ts'

/**
 * Slots of v86's PCI bus with our functions: configuration accesses, BARs at the addresses that the firmware assigns,
 * and interrupt pins.
 *
 *     const slots = new PciSlots(cpu)
 *     slots.plug(8, 0, (bus) => new VirtioPciFunction(device, bus, { memory, log }))
 */
export class PciSlots {
  readonly #cpu: V86Cpu
  readonly #lines: InterruptLines
  readonly #root: PciRoot

  constructor(cpu: V86Cpu) {
    this.#cpu = cpu
    const lines = new InterruptLines(cpu)
    this.#lines = lines
    const pins = Array.from({ length: PINS }, (_, pin) => new SharedLine({ set: (level) => lines.set(pin, level) }))
    this.#root = new PciRoot({
      memory: new MappedMemory(cpu, lines).bus,
      ports: new MappedPorts(cpu, lines).bus,
      // As boards do: INTA of slot n is connected to pin n - 1, modulo 4, of the ISA bridge, and INTB to the next one.
      interruptLine: (slot, pin) => pins[(slot - 1 + pin) & (PINS - 1)].source(),
    })
    this.#takeConfiguration()
  }

  /** Plugs a function into a slot that v86 does not use. */
  plug<Function extends PciFunction>(slot: number, number: number, create: (bus: PciBus) => Function): Function {
    return this.#root.plug(slot, create, number)
  }

  /** Runs a callback within which interrupts are not delivered: from emulated code, or while the processor is stopped. */
  callback<T>(serve: () => T): T {
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
      const bdf = (pci.pci_addr[2] << 8) | pci.pci_addr[1]
      if (!this.#has(bdf)) return query()
      pci.pci_status32[0] = 0x8000_0000 | 0
      const read = () => this.#root.configRead(bdf >> 3, bdf & 7, pci.pci_addr[0] & 0xfc, 4)
      pci.pci_response32[0] = this.callback(read) | 0
    }
    const take = (name: 'pci_write8' | 'pci_write16' | 'pci_write32', width: number) => {
      const own = pci[name].bind(pci)
      pci[name] = (address, value) => {
        const bdf = (address >> 8) & 0xffff
        if (this.#has(bdf)) {
          this.callback(() => this.#root.configWrite(bdf >> 3, bdf & 7, address & 0xff, width, value >>> 0))
        }
        // v86 does not handle writes to empty slots.
        else if (pci.device_spaces[bdf]) this.callback(() => this.#ownWrite(own, address, value))
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

  /** True if one of our functions has this bus, device and function number. */
  #has(bdf: number): boolean {
    return bdf < 256 && this.#root.has(bdf >> 3, bdf & 7)
  }
}
