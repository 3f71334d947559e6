import { Errno } from '../../host/linux/errno.ts'
import type { MappableParts } from '../../pci/pci-function.ts'
import { REGION_INFO_BYTES, type ReplyOf, type RequestOf, sparseAreas } from './messages.ts'
import { CAP_SPARSE_MMAP, REGIONS, RegionFlag, RegionIndex } from './protocol.ts'
import type { RegionAccess } from './region-access.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Answer to DEVICE_GET_REGION_INFO. */
export interface RegionInfo {
  readonly answer: ReplyOf<'DEVICE_GET_REGION_INFO'>
  /** File from which the client can map the region, or parts of it. */
  readonly fd: number | undefined
}

/**
 * Returns information about a region. If only parts of it can be mapped, they are listed at the end, if `argsz` has
 * room.
 * @vfio-user DEVICE_GET_REGION_INFO
 */
export function regionInfo(access: RegionAccess, { argsz, index }: RequestOf<'DEVICE_GET_REGION_INFO'>): RegionInfo {
  if (argsz < REGION_INFO_BYTES)
    throw new VfioUserError(Errno.EINVAL, `argsz must be at least ${REGION_INFO_BYTES} (${argsz})`)
  if (index >= REGIONS) throw new VfioUserError(Errno.EINVAL, `no region ${index}`)
  const size = access.sizeOf(index)
  const parts = access.barOf(index)?.mappable
  const capabilities = parts ? sparse(parts, size) : new Uint8Array(0)
  const needed = REGION_INFO_BYTES + capabilities.length
  const fits = needed <= argsz
  const listed = fits && capabilities.length > 0
  return {
    answer: {
      argsz: needed,
      flags:
        (size > 0 ? RegionFlag.READ : 0) |
        (size > 0 && index !== RegionIndex.ROM ? RegionFlag.WRITE : 0) |
        (parts ? RegionFlag.MMAP : 0) |
        (listed ? RegionFlag.CAPS : 0),
      index,
      capOffset: listed ? REGION_INFO_BYTES : 0,
      size,
      offset: parts?.offset ?? 0,
      bytes: fits ? capabilities : new Uint8Array(0),
    },
    fd: parts?.fd,
  }
}

/** Returns the sparse mmap capability; empty if the whole region can be mapped. */
function sparse({ areas }: MappableParts, size: number): Uint8Array {
  if (areas.length === 1 && areas[0].offset === 0 && areas[0].size === size) return new Uint8Array(0)
  return sparseAreas.write({
    id: CAP_SPARSE_MMAP,
    version: 1,
    next: 0,
    areas: areas.length,
    reserved: 0,
    elements: areas,
  })
}
