/** Field of a register structure. */
export interface Register {
  /** Name in the specification. */
  readonly name: string
  /** Width in bytes. */
  readonly width: 1 | 2 | 4
  /** Returns the value. Must have no side effect. */
  read(): number
  /** Sets the value. @default read-only */
  write?(value: number): void
}

/**
 * Structure of consecutive registers, declared as a list.
 *
 *     const block = new RegisterBlock([
 *       { name: 'queue_select', width: 2, read: () => select, write: (value) => { select = value } },
 *       { name: 'queue_size', width: 2, read: () => size },
 *     ])
 *     block.write(0, 2, 1)
 *     block.read(0, 4)      // both fields
 *
 * A driver accesses a field with the field's width, but a bus may split the access. Reads of another width are combined
 * from bytes. Writes of another width are collected in ascending byte order, and the field is written once, with its
 * last byte. Writes of bytes that are not consecutive are ignored.
 */
export class RegisterBlock {
  /** Length in bytes. */
  readonly length: number
  readonly #registers: readonly Register[]
  /** Offset of each register. */
  readonly #starts: number[] = []
  /** Index of the register that each byte belongs to. */
  readonly #owner: number[] = []
  /** Value of the bytes collected so far. */
  #gathered = 0
  /** Index of the register that the collected bytes belong to; -1 if none. */
  #gathering = -1
  /** Offset of the next byte to collect. */
  #next = 0

  constructor(registers: readonly Register[]) {
    this.#registers = registers
    registers.forEach((register, index) => {
      this.#starts.push(this.#owner.length)
      for (let i = 0; i < register.width; i++) this.#owner.push(index)
    })
    this.length = this.#owner.length
  }

  read(offset: number, width: number): number {
    const register = this.#exact(offset, width)
    if (register) return register.read() >>> 0
    let value = 0
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  write(offset: number, width: number, value: number): void {
    const register = this.#exact(offset, width)
    if (register) {
      this.#gathering = -1
      register.write?.(width === 4 ? value >>> 0 : value & (width === 2 ? 0xffff : 0xff))
      return
    }
    for (let i = 0; i < width; i++) this.#writeByte(offset + i, (value >>> (8 * i)) & 0xff)
  }

  #exact(offset: number, width: number): Register | undefined {
    const owner = this.#owner[offset]
    if (owner === undefined || this.#starts[owner] !== offset) return undefined
    const register = this.#registers[owner]
    return register.width === width ? register : undefined
  }

  #readByte(offset: number): number {
    const owner = this.#owner[offset]
    if (owner === undefined) return 0
    return (this.#registers[owner].read() >>> (8 * (offset - this.#starts[owner]))) & 0xff
  }

  #writeByte(offset: number, byte: number): void {
    const owner = this.#owner[offset]
    if (owner === undefined) return
    const start = this.#starts[owner]
    if (offset === start) {
      this.#gathering = owner
      this.#gathered = 0
    } else if (this.#gathering !== owner || this.#next !== offset) {
      this.#gathering = -1
      return
    }
    this.#gathered |= byte << (8 * (offset - start))
    this.#next = offset + 1
    const register = this.#registers[owner]
    if (this.#next < start + register.width) return
    this.#gathering = -1
    register.write?.(this.#gathered >>> 0)
  }
}
