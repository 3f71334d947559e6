/** Level-triggered interrupt input: asserted until the cause of the interrupt is gone. */
export interface InterruptLine {
  set(asserted: boolean): void
}

/**
 * Interrupt line with several sources, as level-triggered PCI and ISA interrupts share one: asserted while any source is.
 *
 *     const shared = new SharedLine({ set: (asserted) => pic.setLine(10, asserted) })
 *     const disk = shared.source()
 *     const sound = shared.source()
 *     disk.set(true)
 *     sound.set(true)
 *     disk.set(false)                 // the line stays asserted, for `sound`
 */
export class SharedLine {
  #asserted = 0

  constructor(private readonly output: InterruptLine) {}

  /** Adds a source, deasserted. */
  source(): InterruptLine {
    let level = false
    return {
      set: (asserted) => {
        if (asserted === level) return
        level = asserted
        this.#asserted += asserted ? 1 : -1
        // The first source asserts the line, and the last one deasserts it.
        if (this.#asserted === (asserted ? 1 : 0)) this.output.set(asserted)
      },
    }
  }
}
