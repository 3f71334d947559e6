import { GuestMemory } from '../../memory/guest-memory.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'

const GUARD_BYTES = 4096
const GUARD = 0xa5

/**
 * Guest memory whose regions are in one buffer, with guard bytes around each region. A guest must not be able to change
 * the guard bytes.
 *
 *     const guarded = new GuardedMemory([[0, 1 << 20], [1 << 20, 4096]])
 *     new BarePair({ packed, size, memory: guarded.memory })
 *     assert.ok(guarded.isIntact)
 */
export class GuardedMemory {
  readonly memory: GuestMemory
  readonly #guards: Uint8Array[] = []

  /** @param layout base and size of each region */
  constructor(layout: readonly (readonly [base: number, size: number])[]) {
    const total = layout.reduce((sum, [, size]) => sum + size + GUARD_BYTES, GUARD_BYTES)
    const buffer = new Uint8Array(total)
    let at = 0
    const guard = () => {
      this.#guards.push(buffer.subarray(at, at + GUARD_BYTES).fill(GUARD))
      at += GUARD_BYTES
    }
    guard()
    this.memory = new GuestMemory(
      layout.map(([base, size]) => {
        const region = MemoryRegion.over(base, buffer.subarray(at, at + size))
        at += size
        guard()
        return region
      }),
    )
  }

  /** Whether no byte outside the regions was changed. */
  get isIntact(): boolean {
    return this.#guards.every((guard) => guard.every((byte) => byte === GUARD))
  }
}
