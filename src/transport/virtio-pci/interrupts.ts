import type { ConfigurationSpace } from '../../pci/configuration-space.ts'
import type { Msix } from '../../pci/msix.ts'
import type { PciBus } from '../../pci/pci-function.ts'

/** Unmapped: the event makes no interrupt. @virtio 4.1.5.1.2 */
export const VIRTIO_MSI_NO_VECTOR = 0xffff

/** ISR status bits. @virtio 4.1.4.5 */
const Isr = { QUEUE: 1, CONFIG: 2 } as const

/**
 * How events of the device reach the driver: by message where MSI-X is enabled, else by the ISR status register and
 * the interrupt pin. @virtio 4.1.5.3, 4.1.5.4
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

  /** A vector as it is to be kept: one that is not in the table cannot be mapped. @virtio 4.1.5.1.2.1 */
  mapped(vector: number): number {
    return this.msix && vector < this.msix.vectors ? vector : VIRTIO_MSI_NO_VECTOR
  }

  /** The queue was reset: its events make no interrupt until it is mapped again. @virtio 2.6.1.1.1 */
  unmapQueue(index: number): void {
    this.queueVectors[index] = VIRTIO_MSI_NO_VECTOR
  }

  queue(index: number): void {
    if (this.msix?.enabled) {
      this.msix.signal(this.queueVectors[index])
      return
    }
    this.#isr |= Isr.QUEUE
    this.update()
  }

  config(): void {
    // Set with MSI-X too: the driver may look. @virtio 4.1.4.5.1
    this.#isr |= Isr.CONFIG
    if (this.msix?.enabled) this.msix.signal(this.configVector)
    else this.update()
  }

  /** Reading takes the bits away and lowers the pin. @virtio 4.1.4.5 */
  takeIsr(): number {
    const isr = this.#isr
    this.#isr = 0
    this.update()
    return isr
  }

  /** Makes the pin follow the ISR status, MSI-X and the command register. @pci 6.2.2, 6.2.3 */
  update(): void {
    const pending = this.#isr !== 0 && !this.msix?.enabled
    this.space.interruptStatus = pending
    const asserted = pending && !this.space.interruptDisabled
    if (asserted === this.#asserted) return
    this.#asserted = asserted
    this.bus.setInterruptLine(asserted)
  }

  /** The device was reset: nothing is mapped and nothing is pending. */
  reset(): void {
    this.configVector = VIRTIO_MSI_NO_VECTOR
    this.queueVectors.fill(VIRTIO_MSI_NO_VECTOR)
    this.msix?.forget()
    this.takeIsr()
  }
}
