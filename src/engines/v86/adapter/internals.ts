// Internals of v86 that are used in addition to its public interface. v86 does not guarantee them: its version is
// pinned, and only this folder depends on them.

/** View that is created anew at each access, because the memory may have moved. Slow: not for hot paths. */
interface LiveView<T> {
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
  readonly length: number
  [index: number]: T
}

export interface V86Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBuffer }
  /** Guest memory. */
  readonly mem8: LiveView<number>
  /** Size of guest memory in bytes. */
  readonly memory_size: LiveView<number>
  /** EFLAGS. */
  readonly flags: LiveView<number>
  readonly devices: { readonly pci: V86Pci }
  /** Ports by number. */
  readonly io: { readonly ports: V86Port[] }
  /** Callbacks for each block of 128 KiB. */
  readonly memory_map_read8: ((address: number) => number)[]
  readonly memory_map_write8: ((address: number, value: number) => void)[]
  readonly memory_map_read32: ((address: number) => number)[]
  readonly memory_map_write32: ((address: number, value: number) => void)[]
  /** Called by emulated code for each 16-bit write to a mapped range. Writes two bytes unless replaced. */
  mmap_write16(address: number, value: number): void
  device_raise_irq(irq: number): void
  device_lower_irq(irq: number): void
  /** Invalidates compiled code from `start` to `end`. Must be called when guest memory is written from outside. */
  jit_dirty_cache(start: number, end: number): void
  /** Called when the guest resets the processor. */
  reboot_internal(): void
}

/** Functions of an I/O port, called with `device` as `this`. Values of 32 bits are signed. */
export interface V86Port {
  readonly device: unknown
  read8(): number
  read16(): number
  read32(): number
  write8(value: number): void
  write16(value: number): void
  write32(value: number): void
}

interface V86Pci {
  /** Configuration address register, and the value that the data register returns. */
  readonly pci_addr: Uint8Array
  readonly pci_response32: Int32Array
  readonly pci_status32: Int32Array
  /** Configuration space of the ISA bridge. The routes of its four interrupt pins are at 0x60. */
  readonly isa_bridge_space8: Uint8Array
  /** Configuration spaces by bus, device and function. */
  readonly device_spaces: (Int32Array | undefined)[]
  pci_query(): void
  pci_write8(address: number, value: number): void
  pci_write16(address: number, value: number): void
  pci_write32(address: number, value: number): void
}

export interface V86Internals {
  readonly v86: { readonly cpu: V86Cpu }
}

/** EFLAGS.IF: maskable interrupts are enabled. */
export const FLAG_INTERRUPT = 1 << 9
