// What is used of v86 beyond its public interface. None of it is promised by v86: the version is pinned, and only the files
// of this folder know any of it.

/** A view that is looked up anew at each access, since the memory below may have moved: costly, not for hot paths. */
interface LiveView<T> {
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
  readonly length: number
  [index: number]: T
}

export interface V86Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBuffer }
  /** The guest's memory. */
  readonly mem8: LiveView<number>
  /** Bytes of it. */
  readonly memory_size: LiveView<number>
  /** EFLAGS. */
  readonly flags: LiveView<number>
  readonly devices: { readonly pci: V86Pci }
  /** Ports by number. */
  readonly io: { readonly ports: V86Port[] }
  /** Callbacks by block of 128 KiB. */
  readonly memory_map_read8: ((address: number) => number)[]
  readonly memory_map_write8: ((address: number, value: number) => void)[]
  readonly memory_map_read32: ((address: number) => number)[]
  readonly memory_map_write32: ((address: number, value: number) => void)[]
  /** Called by the emulated code for each 16-bit write to a mapped range; splits it in bytes unless replaced. */
  mmap_write16(address: number, value: number): void
  device_raise_irq(irq: number): void
  device_lower_irq(irq: number): void
  /** Guest memory was written from outside: compiled code of `start` to `end` is void. */
  jit_dirty_cache(start: number, end: number): void
  /** A reset by the guest. */
  reboot_internal(): void
}

/** What answers at an I/O port; called with `device` as `this`. Values of 32 bits are signed. */
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
  /** Configuration address register, and what reading the data register gives. */
  readonly pci_addr: Uint8Array
  readonly pci_response32: Int32Array
  readonly pci_status32: Int32Array
  /** Configuration space of the ISA bridge: where its four interrupt pins go is at 0x60. */
  readonly isa_bridge_space8: Uint8Array
  /** By bus, device and function. */
  readonly device_spaces: (Int32Array | undefined)[]
  pci_query(): void
  pci_write8(address: number, value: number): void
  pci_write16(address: number, value: number): void
  pci_write32(address: number, value: number): void
}

export interface V86Internals {
  readonly v86: { readonly cpu: V86Cpu }
}

/** EFLAGS: maskable interrupts are taken. */
export const FLAG_INTERRUPT = 1 << 9
