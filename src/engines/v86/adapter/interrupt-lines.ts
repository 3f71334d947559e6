import { FLAG_INTERRUPT, type V86Cpu } from './internals.ts'

/** Where the ISA bridge keeps which IRQ each of its four interrupt pins goes to. */
const PIRQ_ROUTES = 0x60
const PIRQ_DISABLED = 0x80
const PIRQ_IRQ = 0x0f

/**
 * Interrupt pins of the functions on the bus, wired together as a board does: INTA of slot n goes to pin n - 1 (modulo
 * 4) of the ISA bridge, and an IRQ is high while any pin that goes there is. v86 has no wired-OR of its own.
 *
 * v86 delivers an interrupt at once when a line goes up. Within a callback from emulated code that is in the middle of an
 * instruction, and the vector is lost: there the interrupt flag is hidden, and v86 delivers it when it next looks.
 */
export class InterruptLines {
  /** Emulated code is waiting for a callback, so often. */
  callbacks = 0
  /** Slots that assert their pin, and IRQs that are high, a bit each. */
  #asserted = 0
  #raised = 0

  constructor(private readonly cpu: V86Cpu) {}

  set(slot: number, asserted: boolean): void {
    const bit = 1 << slot
    if (asserted === ((this.#asserted & bit) !== 0)) return
    this.#asserted ^= bit
    this.update()
  }

  /** Brings the lines in accordance with the pins; to be called when the bridge's routes changed too. */
  update(): void {
    const routes = this.cpu.devices.pci.isa_bridge_space8
    let wanted = 0
    for (let slot = 0, left = this.#asserted; left !== 0; slot++, left >>>= 1) {
      if ((left & 1) === 0) continue
      const route = routes[PIRQ_ROUTES + ((slot - 1) & 3)]
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
