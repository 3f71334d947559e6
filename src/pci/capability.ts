/**
 * One entry of a function's capability list.
 *
 *     0     1      2
 *     | id  | next | body ...
 *
 * @pci 6.7
 */
export interface PciCapability {
  readonly id: number
  /** What follows the link, as it is after a reset. */
  readonly body: Uint8Array
  /** For each byte of `body` the bits the driver can change; without it, none. */
  readonly writable?: Uint8Array
  /** Called before bytes `from` to `to` of the body are read; may change them. */
  beforeRead?(body: Uint8Array, from: number, to: number): void
  /** Called after the driver wrote to bytes `from` to `to` of the body, and for the whole body after a reset. */
  afterWrite?(body: Uint8Array, from: number, to: number): void
}

export const CapabilityId = { MSI: 0x05, VENDOR: 0x09, MSIX: 0x11 } as const
