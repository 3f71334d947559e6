/**
 * Device configuration space: little-endian bytes that the driver reads and, if the device allows it, writes.
 *
 *     const config = new ConfigSpace(16)
 *     config.update((view) => view.setUint32(8, scanouts, true))   // the driver gets a configuration change
 *
 * @virtio 2.5
 */
export class ConfigSpace {
  /** Set by the transport. Called when the device changed the space. */
  onChange: (() => void) | undefined
  readonly view: DataView
  readonly #bytes: Uint8Array
  #generation = 0
  #changed = false

  /**
   * @param size bytes
   * @param onWrite called after each write of the driver, with the new bytes in place; if undefined, the space is
   *   read-only
   */
  constructor(
    readonly size: number,
    private readonly onWrite?: (offset: number, width: number) => void,
  ) {
    this.#bytes = new Uint8Array(size)
    this.view = new DataView(this.#bytes.buffer)
  }

  /**
   * Generation, 8 bits: differs before and after a driver's sequence of reads that saw a change.
   *
   * It is incremented by the first read after a change, not by the change, so that 256 changes between two reads do not
   * wrap it to its old value. @virtio 4.1.4.3.1
   */
  get generation(): number {
    return this.#generation
  }

  /** Whether the driver can write to the space. */
  get writable(): boolean {
    return this.onWrite !== undefined
  }

  /** Whether the device changed the space since the driver last read it. */
  get changed(): boolean {
    return this.#changed
  }

  /** Returns the little-endian value of `width` (1, 2 or 4) bytes; bytes past the end read as 0. */
  read(offset: number, width: number): number {
    if (this.#changed) {
      this.#changed = false
      this.#generation = (this.#generation + 1) & 0xff
    }
    let value = 0
    for (let i = 0; i < width; i++) value |= (this.#bytes[offset + i] ?? 0) << (8 * i)
    return value >>> 0
  }

  /** Performs a write of the driver. Ignored if the space is read-only or the range exceeds it. */
  write(offset: number, width: number, value: number): void {
    if (!this.onWrite || offset + width > this.size) return
    for (let i = 0; i < width; i++) this.#bytes[offset + i] = value >>> (8 * i)
    this.onWrite(offset, width)
  }

  /** Returns a copy of the bytes. */
  copy(): Uint8Array {
    return this.#bytes.slice()
  }

  /**
   * Continues a space of another device, whose driver saw `bytes` and `generation`. If the bytes differ now, because the host
   * does, the space is changed.
   */
  continue(bytes: Uint8Array, generation: number, changed: boolean): void {
    this.#generation = generation
    this.#changed = changed || bytes.some((byte, i) => byte !== this.#bytes[i])
  }

  /** Changes the space for the device and notifies the driver. The generation changes at the next read. */
  update(change: (view: DataView) => void): void {
    change(this.view)
    this.#changed = true
    this.onChange?.()
  }
}
