import type { ConfigurationSpace } from '../../pci/configuration-space.ts'
import type { Msix } from '../../pci/msix.ts'
import type { PciBus } from '../../pci/pci-function.ts'
import { elements, integer, record, type Shaped } from '../../snapshot/shape.ts'
import { SnapshotError } from '../../snapshot/snapshot-error.ts'

/** Vector of events that cause no interrupt. @virtio 4.1.5.1.2 */
export const VIRTIO_MSI_NO_VECTOR = 0xffff

/** ISR status bits. @virtio 4.1.4.5 */
const Isr = { QUEUE: 1, CONFIG: 2 } as const

/** Shape of the saved interrupts of a device with this many queues. */
export function interruptsShape(queues: number) {
  return record({
    isr: integer(0, Isr.QUEUE | Isr.CONFIG),
    configVector: integer(0, VIRTIO_MSI_NO_VECTOR),
    queueVectors: elements(Uint16Array, queues),
  })
}
type SavedInterrupts = Shaped<ReturnType<typeof interruptsShape>>

/**
 * Interrupts of the device: MSI-X messages if MSI-X is enabled, else the ISR status register and the interrupt pin.
 * @virtio 4.1.5.3, 4.1.5.4
 */
export class Interrupts {
  configVector = VIRTIO_MSI_NO_VECTOR
  readonly queueVectors: Uint16Array
  #isr = 0
  #asserted = false

  constructor(
    queues: number,
    private readonly bus: PciBus,
    private readonly msix: Msix | undefined,
    private readonly space: ConfigurationSpace,
  ) {
    this.queueVectors = new Uint16Array(queues).fill(VIRTIO_MSI_NO_VECTOR)
  }

  /** Returns `vector` if the MSI-X table has it, else NO_VECTOR. @virtio 4.1.5.1.2.1 */
  mapped(vector: number): number {
    return this.msix && vector < this.msix.vectors ? vector : VIRTIO_MSI_NO_VECTOR
  }

  /** Unmaps a queue that was reset: it causes no MSI-X interrupt until the driver maps a vector. @virtio 2.6.1.1.1 */
  unmapQueue(index: number): void {
    this.queueVectors[index] = VIRTIO_MSI_NO_VECTOR
  }

  /** Signals used buffers of a queue. */
  queue(index: number): void {
    if (this.msix?.enabled) {
      this.msix.signal(this.queueVectors[index])
      return
    }
    this.#isr |= Isr.QUEUE
    this.update()
  }

  /** Signals a configuration change. */
  config(): void {
    // Also with MSI-X, because the driver may read it. @virtio 4.1.4.5.1
    this.#isr |= Isr.CONFIG
    if (this.msix?.enabled) this.msix.signal(this.configVector)
    else this.update()
  }

  /** Returns and clears the ISR status, and deasserts the pin. @virtio 4.1.4.5 */
  takeIsr(): number {
    const isr = this.#isr
    this.#isr = 0
    this.update()
    return isr
  }

  /** Updates the pin from the ISR status, MSI-X and the command register. @pci 6.2.2, 6.2.3 */
  update(): void {
    const pending = this.#isr !== 0 && !this.msix?.enabled
    this.space.interruptStatus = pending
    const asserted = pending && !this.space.interruptDisabled
    if (asserted === this.#asserted) return
    this.#asserted = asserted
    this.bus.setInterruptLine(asserted)
  }

  save(): SavedInterrupts {
    return { isr: this.#isr, configVector: this.configVector, queueVectors: this.queueVectors.slice() }
  }

  /** @throws {SnapshotError} if a vector is not in the MSI-X table */
  check({ configVector, queueVectors }: SavedInterrupts): void {
    for (const vector of [configVector, ...queueVectors]) {
      if (this.mapped(vector) !== vector) throw new SnapshotError(`the saved state has the MSI-X vector ${vector}`)
    }
  }

  /** Takes a saved state, which `check` accepted. `update` must follow. */
  restore({ isr, configVector, queueVectors }: SavedInterrupts): void {
    this.#isr = isr
    this.configVector = configVector
    this.queueVectors.set(queueVectors)
  }

  /** Unmaps all vectors and clears pending interrupts, because the device was reset. */
  reset(): void {
    this.configVector = VIRTIO_MSI_NO_VECTOR
    this.queueVectors.fill(VIRTIO_MSI_NO_VECTOR)
    this.msix?.clearPending()
    this.takeIsr()
  }
}
