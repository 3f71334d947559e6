/**
 * Entry of a function's capability list.
 *
 *     0     1      2
 *     | id  | next | body ...
 *
 * @pci 6.7
 */
export interface PciCapability {
  readonly id: number
  /** Bytes after the link, with their values after a reset. */
  readonly body: Uint8Array
  /** Mask of the bits that the driver can change, for each byte of `body`. @default read-only */
  readonly writable?: Uint8Array
  /** Offset in `body` from which on the function changes bytes that the driver cannot write. @default none */
  readonly dynamic?: number
  /** Called once with the body in the configuration space. */
  placed?(body: Uint8Array): void
  /** Called before bytes `from` to `to` (exclusive) of the body are read; may change them. */
  beforeRead?(body: Uint8Array, from: number, to: number): void
  /**
   * Called after the driver wrote bytes `from` to `to` (exclusive) of the body, and for the whole body after a reset.
   */
  afterWrite?(body: Uint8Array, from: number, to: number): void
  /** Called after the body of a saved configuration space was restored. */
  afterRestore?(body: Uint8Array): void
}

/**
 * Entry of a function's list of extended capabilities, which only PCI Express functions have.
 *
 *     0    2                       4
 *     | id | version (4), next (12) | body ...
 *
 * @pcie 7.6.3
 */
export interface ExtendedCapability extends Omit<PciCapability, 'dynamic'> {
  /** @default 1 */
  readonly version?: number
}

export const CapabilityId = { MSI: 0x05, VENDOR: 0x09, EXPRESS: 0x10, MSIX: 0x11 } as const
