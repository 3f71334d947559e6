/**
 * A device's configuration space: little-endian bytes the driver reads and, where the device allows it, writes.
 *
 *     const config = new ConfigSpace(16)
 *     config.update((view) => view.setUint32(8, scanouts, true))   // the driver gets a configuration change
 *
 * @virtio 2.5
 */
export class ConfigSpace {
  /** Set by the transport: tells it of a change. */
  onChange: (() => void) | undefined
  readonly view: DataView
  readonly #bytes: Uint8Array
  #generation = 0
  #changed = false

  /**
   * @param size bytes
   * @param onWrite called for each byte range the driver asks to write, with what it wrote in place of the old bytes;
   *   without it the space is read-only
   */
  constructor(
    readonly size: number,
    private readonly onWrite?: (offset: number, width: number) => void,
  ) {
    this.#bytes = new Uint8Array(size)
    this.view = new DataView(this.#bytes.buffer)
  }

  /**
   * Differs before and after a read that saw the space half changed.
   *
   * It moves on when a change is read, not when it is made: 256 changes between two reads must not bring the 8-bit
   * number back to where it was. @virtio 4.1.4.3.1
   */
  get generation(): number {
    return this.#generation
  }

  /** The driver may write at least some of it. */
  get writable(): boolean {
    return this.onWrite !== undefined
  }

  /** The device changed something since the driver last read. */
  get changed(): boolean {
    return this.#changed
  }

  /** Little-endian value of `width` (1, 2 or 4) bytes; bytes past the end read as 0. */
  read(offset: number, width: number): number {
    if (this.#changed) {
      this.#changed = false
      this.#generation = (this.#generation + 1) & 0xff
    }
    let value = 0
    for (let i = 0; i < width; i++) value |= (this.#bytes[offset + i] ?? 0) << (8 * i)
    return value >>> 0
  }

  /** A write by the driver; ignored where the space is read-only or ends before it. */
  write(offset: number, width: number, value: number): void {
    if (!this.onWrite || offset + width > this.size) return
    for (let i = 0; i < width; i++) this.#bytes[offset + i] = value >>> (8 * i)
    this.onWrite(offset, width)
  }

  /** A change by the device: a new generation, and the driver is told. */
  update(change: (view: DataView) => void): void {
    change(this.view)
    this.#changed = true
    this.onChange?.()
  }
}
