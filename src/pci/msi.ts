import { CapabilityId, type PciCapability } from './capability.ts'
import type { PciBus } from './pci-function.ts'

// MSI capability body, after id and link, with 64-bit addresses and mask bits         @pci 6.8.1
//
//   0                 2              6                10     12         14          18
//   | message control | address low  | address high   | data | reserved | mask bits | pending bits |
//
const CONTROL = 0
const ADDRESS_LO = 2
const ADDRESS_HI = 6
const DATA = 10
const MASK = 14
const PENDING = 18
const BODY_BYTES = 22

const ENABLE = 1 << 0
/** Shift of the number of vectors that the function can use, as a power of two. */
const CAPABLE = 1
/** Shift of the number of vectors that the driver enabled, as a power of two. */
const ENABLED = 4
const ENABLED_BITS = 7 << ENABLED
const ADDRESS_64 = 1 << 7
const MASKABLE = 1 << 8

/** Maximum number of vectors. */
const MAX_VECTORS = 32

/**
 * MSI interrupts: one message, whose data contains the number of the vector, with a mask bit and a pending bit for each
 * vector. All state is in the configuration space.
 *
 *     const msi = new Msi(4, bus)
 *     const space = new ConfigurationSpace(identity, bars, [msi.capability], onChange)
 *     msi.signal(2)      // sends the message of vector 2, or sets its pending bit while it is masked
 *
 * If the driver enables fewer vectors than the function has, vectors share messages: the number modulo those that are
 * enabled.
 */
export class Msi {
  readonly capability: PciCapability
  /** Body in the configuration space, once it was written or restored. */
  #body: DataView
  #held = true

  /**
   * @param vectors 1, 2, 4, 8, 16 or 32
   * @param bus receives the messages
   * @throws {RangeError} for another number of vectors
   */
  constructor(
    readonly vectors: number,
    private readonly bus: Pick<PciBus, 'sendMessage' | 'sendVector'>,
  ) {
    const capable = Math.log2(vectors)
    if (!Number.isInteger(capable) || vectors > MAX_VECTORS) throw new RangeError(`MSI cannot have ${vectors} vectors`)
    const body = new DataView(new ArrayBuffer(BODY_BYTES))
    body.setUint16(CONTROL, (capable << CAPABLE) | ADDRESS_64 | MASKABLE, true)
    const writable = new DataView(new ArrayBuffer(BODY_BYTES))
    writable.setUint16(CONTROL, ENABLE | ENABLED_BITS, true)
    // A message is an aligned 32-bit write: the two lowest address bits are 0.
    writable.setUint32(ADDRESS_LO, 0xffff_fffc, true)
    writable.setUint32(ADDRESS_HI, 0xffff_ffff, true)
    writable.setUint16(DATA, 0xffff, true)
    writable.setUint32(MASK, 2 ** vectors - 1, true)
    this.#body = body
    this.capability = {
      id: CapabilityId.MSI,
      body: new Uint8Array(body.buffer),
      writable: new Uint8Array(writable.buffer),
      dynamic: PENDING,
      placed: (bytes) => {
        this.#body = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      },
      afterWrite: () => this.retry(),
    }
  }

  /** MSI enable bit. While it is set, the interrupt pin is not used. */
  get enabled(): boolean {
    return (this.#control & ENABLE) !== 0
  }

  /** Keeps all vectors pending while `held`: messages are memory writes, which need bus mastering. */
  hold(held: boolean): void {
    this.#held = held
    this.retry()
  }

  /** Sends the message of a vector or sets its pending bit. Ignored for an invalid vector, and while MSI is disabled. */
  signal(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return
    const shared = vector % this.#enabledVectors
    if (this.#held || !this.#send(shared)) this.#setPending(this.#pending | (1 << shared))
  }

  /** Sends the messages of pending vectors that are no longer masked. */
  retry(): void {
    if (!this.enabled || this.#held) return
    for (let bits = this.#pending; bits !== 0; bits &= bits - 1) {
      const vector = 31 - Math.clz32(bits & -bits)
      if (this.#send(vector)) this.#setPending(this.#pending & ~(1 << vector))
    }
  }

  /** Clears the pending bits, because the device was reset. */
  clearPending(): void {
    this.#setPending(0)
  }

  get #control(): number {
    return this.#body.getUint16(CONTROL, true)
  }

  /** Number of vectors that the driver enabled, at most those of the function. */
  get #enabledVectors(): number {
    return Math.min(this.vectors, 1 << ((this.#control & ENABLED_BITS) >> ENABLED))
  }

  get #pending(): number {
    return this.#body.getUint32(PENDING, true)
  }

  #setPending(bits: number): void {
    this.#body.setUint32(PENDING, bits, true)
  }

  /** Sends the message of a vector. @returns false if the vector is masked */
  #send(vector: number): boolean {
    if (this.bus.sendVector) return this.bus.sendVector(vector)
    const body = this.#body
    if ((body.getUint32(MASK, true) & (1 << vector)) !== 0) return false
    const address = body.getUint32(ADDRESS_LO, true) + body.getUint32(ADDRESS_HI, true) * 2 ** 32
    const data = body.getUint16(DATA, true)
    this.bus.sendMessage?.(address, (data & ~(this.#enabledVectors - 1)) | vector)
    return true
  }
}
