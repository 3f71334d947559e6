import type { BusDevice } from '../../bus/bus-device.ts'
import { CapabilityId, type PciCapability } from '../../pci/capability.ts'
import type { PciBar } from '../../pci/pci-function.ts'

// Virtio structure capability: offsets in its body, which starts after id and link          @virtio 4.1.4
//
//   0     1          2     3    4         6        10       14
//   | len | cfg_type | bar | id | padding | offset | length | fields of the type
//
const CAP_LEN = 0
const CFG_TYPE = 1
const BAR = 2
const ID = 3
const OFFSET = 6
const LENGTH = 10
const EXTRA = 14
/** High words of a 64-bit capability. */
const OFFSET_HI = EXTRA
const LENGTH_HI = EXTRA + 4
/** Bytes before the body, which `cap_len` includes. */
const LINK_BYTES = 2

export const CfgType = {
  COMMON_CFG: 1,
  NOTIFY_CFG: 2,
  ISR_CFG: 3,
  DEVICE_CFG: 4,
  PCI_CFG: 5,
  SHARED_MEMORY_CFG: 8,
} as const
export type CfgType = (typeof CfgType)[keyof typeof CfgType]

/** Location of a structure in a BAR. */
export interface StructurePlace {
  readonly bar: number
  readonly offset: number
  /** Length in bytes. */
  readonly length: number
}

/** Returns the capability that locates a structure. @virtio 4.1.4 */
export function structureCapability(type: CfgType, place: StructurePlace): PciCapability {
  return { id: CapabilityId.VENDOR, body: bytes(describe(type, place, EXTRA)) }
}

/**
 * Returns the capability of the notification registers. @virtio 4.1.4.4
 * @param multiplier bytes from one queue's notification register to the next
 */
export function notifyCapability(place: StructurePlace, multiplier: number): PciCapability {
  const view = describe(CfgType.NOTIFY_CFG, place, EXTRA + 4)
  view.setUint32(EXTRA, multiplier, true)
  return { id: CapabilityId.VENDOR, body: bytes(view) }
}

/** Returns the capability of a shared memory region. @param id id of the region @virtio 4.1.4.7 */
export function sharedMemoryCapability(id: number, place: StructurePlace): PciCapability {
  const view = describe(CfgType.SHARED_MEMORY_CFG, place, EXTRA + 8)
  view.setUint8(ID, id)
  view.setUint32(OFFSET_HI, Math.floor(place.offset / 2 ** 32), true)
  view.setUint32(LENGTH_HI, Math.floor(place.length / 2 ** 32), true)
  return { id: CapabilityId.VENDOR, body: bytes(view) }
}

/**
 * Returns the PCI configuration access capability, a window from the configuration space to any BAR. The driver writes
 * BAR, offset and length, then reads or writes the data. An access is ignored if it is misaligned, outside the BAR, or
 * its length is not 1, 2 or 4. @virtio 4.1.4.9
 * @param barAt returns a BAR; undefined if it does not exist
 */
export function pciAccessCapability(barAt: (index: number) => PciBar | undefined): PciCapability {
  const view = describe(CfgType.PCI_CFG, { bar: 0, offset: 0, length: 0 }, EXTRA + 4)
  const writable = new Uint8Array(view.byteLength)
  writable[BAR] = 0xff
  writable.fill(0xff, OFFSET)

  /** Calls `use` with the location that the driver set, if the access reaches the data and the location is valid. */
  const withAccess = (
    body: Uint8Array,
    to: number,
    use: (data: DataView, device: BusDevice, offset: number, length: number) => void,
  ) => {
    if (to <= EXTRA) return
    const live = new DataView(body.buffer, body.byteOffset, body.byteLength)
    const bar = barAt(live.getUint8(BAR))
    const offset = live.getUint32(OFFSET, true)
    const length = live.getUint32(LENGTH, true)
    if (length !== 1 && length !== 2 && length !== 4) return
    if (!bar || offset % length !== 0 || offset + length > bar.size) return
    use(live, bar.device, offset, length)
  }
  return {
    id: CapabilityId.VENDOR,
    body: bytes(view),
    writable,
    beforeRead(body, _from, to) {
      withAccess(body, to, (data, device, offset, length) => {
        const value = device.read(offset, length)
        for (let i = 0; i < length; i++) data.setUint8(EXTRA + i, value >>> (8 * i))
      })
    },
    afterWrite(body, _from, to) {
      withAccess(body, to, (data, device, offset, length) => {
        let value = 0
        for (let i = 0; i < length; i++) value |= data.getUint8(EXTRA + i) << (8 * i)
        device.write(offset, length, value >>> 0)
      })
    },
  }
}

function describe(type: CfgType, { bar, offset, length }: StructurePlace, size: number): DataView {
  const view = new DataView(new ArrayBuffer(size))
  view.setUint8(CAP_LEN, LINK_BYTES + size)
  view.setUint8(CFG_TYPE, type)
  view.setUint8(BAR, bar)
  view.setUint32(OFFSET, offset % 2 ** 32, true)
  view.setUint32(LENGTH, length % 2 ** 32, true)
  return view
}

function bytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer)
}
