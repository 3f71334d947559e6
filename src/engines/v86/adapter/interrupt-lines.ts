import { FLAG_INTERRUPT, type V86Cpu } from './internals.ts'

/** Interrupt pins of the ISA bridge, to which the functions on the bus are connected. */
export const PINS = 4
/** Where the ISA bridge keeps which IRQ each pin goes to. */
const PIRQ_ROUTES = 0x60
const PIRQ_DISABLED = 0x80
const PIRQ_IRQ = 0x0f

/**
 * Interrupt pins of the ISA bridge: an IRQ is high while any pin that goes there is. v86 has no wired-OR of its own.
 *
 * v86 delivers an interrupt at once when a line goes up. Within a callback from emulated code that is in the middle of an
 * instruction, and the vector is lost: there the interrupt flag is hidden, and v86 delivers it when it next looks.
 */
export class InterruptLines {
  /** Emulated code is waiting for a callback, so often. */
  callbacks = 0
  /** Pins that are asserted, and IRQs that are high, a bit each. */
  #asserted = 0
  #raised = 0

  constructor(private readonly cpu: V86Cpu) {}

  set(pin: number, asserted: boolean): void {
    const bit = 1 << pin
    if (asserted === ((this.#asserted & bit) !== 0)) return
    this.#asserted ^= bit
    this.update()
  }

  /** Brings the lines in accordance with the pins; to be called when the bridge's routes changed too. */
  update(): void {
    const routes = this.cpu.devices.pci.isa_bridge_space8
    let wanted = 0
    for (let pin = 0; pin < PINS; pin++) {
      if ((this.#asserted & (1 << pin)) === 0) continue
      const route = routes[PIRQ_ROUTES + pin]
      if ((route & PIRQ_DISABLED) === 0) wanted |= 1 << (route & PIRQ_IRQ)
    }
    const changed = wanted ^ this.#raised
    if (changed === 0) return
    this.#raised = wanted
    const flags = this.cpu.flags
    const before = flags[0]
    if (this.callbacks > 0) flags[0] = before & ~FLAG_INTERRUPT
    for (let irq = 0; irq < 16; irq++) {
      if ((changed & (1 << irq)) === 0) continue
      if ((wanted & (1 << irq)) !== 0) this.cpu.device_raise_irq(irq)
      else this.cpu.device_lower_irq(irq)
    }
    if (this.callbacks > 0) flags[0] = before
  }
}
