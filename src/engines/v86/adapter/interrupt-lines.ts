import { FLAG_INTERRUPT, type V86Cpu } from './internals.ts'

/** Number of interrupt pins of the ISA bridge, to which the functions on the bus are connected. */
export const PINS = 4
/** Offset in the ISA bridge of the routes from its interrupt pins to IRQs. */
const PIRQ_ROUTES = 0x60
const PIRQ_DISABLED = 0x80
const PIRQ_IRQ = 0x0f

/**
 * Interrupt pins of the ISA bridge. An IRQ is high while any pin that is routed to it is asserted, which v86 does not
 * implement itself.
 *
 * v86 delivers an interrupt as soon as a line is raised. In a callback from emulated code an instruction is not
 * complete, and the vector would be lost. The interrupt flag is therefore cleared during callbacks, and v86 delivers
 * the interrupt at its next check.
 */
export class InterruptLines {
  /** Nesting depth of callbacks from emulated code. */
  callbacks = 0
  /** Asserted pins, as bits. */
  #asserted = 0
  /** IRQs that are high, as bits. */
  #raised = 0

  constructor(private readonly cpu: V86Cpu) {}

  set(pin: number, asserted: boolean): void {
    const bit = 1 << pin
    if (asserted === ((this.#asserted & bit) !== 0)) return
    this.#asserted ^= bit
    this.update()
  }

  /** Sets the lines according to the pins. Must also be called when the routes of the bridge changed. */
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
