import { elements, record, type Shape } from '../snapshot/shape.ts'
import { SnapshotError } from '../snapshot/snapshot-error.ts'
import { CapabilityId, type PciCapability } from './capability.ts'
import type { PciBus } from './pci-function.ts'

// MSI-X table entry, 16 bytes, in 32-bit words                         @pci 6.8.2
//
//   | message address | upper address | message data | vector control: bit 0 = masked |
//
const ENTRY_WORDS = 4
const ADDRESS_LO = 0
const ADDRESS_HI = 1
const DATA = 2
const CONTROL = 3
const CONTROL_MASKED = 1

// MSI-X capability body, after id and link                             @pci 6.8.2
//
//   0                 2                        6
//   | message control | table offset, BAR (3b) | pending bits offset, BAR (3b) |
//
const CONTROL_HIGH_BYTE = 1
const ENABLE = 0x80
const FUNCTION_MASK = 0x40

/** Saved table and pending bits. */
interface SavedMsix {
  readonly table: Uint32Array
  readonly pending: Uint32Array
}

/** Maximum number of vectors of an MSI-X table. */
export const MAX_MSIX_VECTORS = 2048

/** Shape of a saved table of this many vectors. */
export function msixShape(vectors: number): Shape<SavedMsix> {
  const fields = record({
    table: elements(Uint32Array, vectors * ENTRY_WORDS),
    pending: elements(Uint32Array, pendingWords(vectors)),
  })
  return (value, what) => {
    const saved = fields(value, what)
    const { table, pending } = saved
    if (table.some((word, i) => i % ENTRY_WORDS === CONTROL && (word & ~CONTROL_MASKED) !== 0)) {
      throw new SnapshotError(`${what}.table has unknown control bits`)
    }
    for (let vector = vectors; vector < 32 * pending.length; vector++) {
      if ((pending[vector >>> 5] & (1 << (vector & 31))) === 0) continue
      throw new SnapshotError(`${what}.pending has vector ${vector}, of ${vectors}`)
    }
    return saved
  }
}

/** Number of 32-bit words of the pending bits, which consist of 64-bit words. */
function pendingWords(vectors: number): number {
  return Math.ceil(vectors / 64) * 2
}

/**
 * MSI-X interrupts: a table with one message per vector, and one pending bit per vector.
 *
 *     const msix = new Msix(3, 1, bus)
 *     msix.signal(2)      // sends the message of vector 2, or sets its pending bit while it is masked
 *
 * One BAR holds the table, followed by the pending bits.
 */
export class Msix {
  readonly capability: PciCapability
  /** Bytes that it needs in the BAR. */
  readonly size: number
  #enabled = false
  #masked = false
  #held = true
  readonly #table: Uint32Array
  readonly #pending: Uint32Array

  /**
   * @param vectors 1 to 2048
   * @param bar number of a BAR that holds only the table and the pending bits
   * @param bus receives the messages
   */
  constructor(
    readonly vectors: number,
    bar: number,
    private readonly bus: Pick<PciBus, 'sendMessage' | 'sendVector'>,
  ) {
    this.#table = new Uint32Array(vectors * ENTRY_WORDS)
    this.#pending = new Uint32Array(pendingWords(vectors))
    this.size = this.#table.byteLength + this.#pending.byteLength
    this.#maskAll()
    const body = new DataView(new ArrayBuffer(10))
    body.setUint16(0, vectors - 1, true)
    body.setUint32(2, bar, true)
    body.setUint32(6, this.#table.byteLength | bar, true)
    const writable = new Uint8Array(10)
    writable[CONTROL_HIGH_BYTE] = ENABLE | FUNCTION_MASK
    this.capability = {
      id: CapabilityId.MSIX,
      body: new Uint8Array(body.buffer),
      writable,
      afterWrite: (bytes) => {
        this.#takeControl(bytes)
        this.retry()
      },
      afterRestore: (bytes) => this.#takeControl(bytes),
    }
  }

  /** MSI-X enable bit. While it is set, the interrupt pin is not used. */
  get enabled(): boolean {
    return this.#enabled
  }

  /** Keeps all vectors pending while `held`: messages are memory writes, which need bus mastering. */
  hold(held: boolean): void {
    this.#held = held
    this.retry()
  }

  /**
   * Sends the message of a vector or sets its pending bit. Ignored for an invalid vector, and while MSI-X is disabled.
   */
  signal(vector: number): void {
    if (!this.#enabled || vector >= this.vectors) return
    if (this.#held || this.#masked || !this.#send(vector)) this.#pending[vector >>> 5] |= 1 << (vector & 31)
  }

  /** Sends the messages of pending vectors that are no longer masked. */
  retry(): void {
    if (!this.#enabled || this.#masked || this.#held) return
    for (let word = 0; word < this.#pending.length; word++) {
      for (let bits = this.#pending[word]; bits !== 0; bits &= bits - 1) {
        const vector = word * 32 + (31 - Math.clz32(bits & -bits))
        this.#pending[word] &= ~(1 << (vector & 31))
        this.signal(vector)
      }
    }
  }

  read(offset: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  /** Writes to the table. Pending bits are read-only. */
  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = offset + i
      if (at >= this.#table.byteLength) break
      const shift = 8 * (at & 3)
      const word = at >>> 2
      const merged = (this.#table[word] & ~(0xff << shift)) | (((value >>> (8 * i)) & 0xff) << shift)
      this.#table[word] = word % ENTRY_WORDS === CONTROL ? merged & CONTROL_MASKED : merged
    }
    this.retry()
  }

  /** Masks all vectors and clears the pending bits. The capability is reset by the configuration space. */
  reset(): void {
    this.#held = true
    this.#maskAll()
  }

  save(): SavedMsix {
    return { table: this.#table.slice(), pending: this.#pending.slice() }
  }

  /** Takes a saved table, of which `retry` sends the pending vectors. The control bits are in the capability. */
  restore({ table, pending }: SavedMsix): void {
    this.#table.set(table)
    this.#pending.set(pending)
  }

  /** Clears the pending bits, because the device was reset. */
  clearPending(): void {
    this.#pending.fill(0)
  }

  #takeControl(body: Uint8Array): void {
    this.#enabled = (body[CONTROL_HIGH_BYTE] & ENABLE) !== 0
    this.#masked = (body[CONTROL_HIGH_BYTE] & FUNCTION_MASK) !== 0
  }

  #maskAll(): void {
    this.#table.fill(0)
    this.#pending.fill(0)
    for (let vector = 0; vector < this.vectors; vector++) this.#table[vector * ENTRY_WORDS + CONTROL] = CONTROL_MASKED
  }

  #readByte(offset: number): number {
    const words = offset < this.#table.byteLength ? this.#table : this.#pending
    const at = words === this.#table ? offset : offset - this.#table.byteLength
    return ((words[at >>> 2] ?? 0) >>> (8 * (at & 3))) & 0xff
  }

  /** Sends the message of a vector. @returns false if the vector is masked */
  #send(vector: number): boolean {
    if (this.bus.sendVector) return this.bus.sendVector(vector)
    const at = vector * ENTRY_WORDS
    if ((this.#table[at + CONTROL] & CONTROL_MASKED) !== 0) return false
    // A message is an aligned 32-bit write: the two lowest address bits must be 0.
    const low = (this.#table[at + ADDRESS_LO] & ~3) >>> 0
    this.bus.sendMessage?.(low + this.#table[at + ADDRESS_HI] * 2 ** 32, this.#table[at + DATA])
    return true
  }
}
