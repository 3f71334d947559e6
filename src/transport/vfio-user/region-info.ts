import { Errno } from '../../host/linux/errno.ts'
import type { MappableParts } from '../../pci/pci-function.ts'
import { REGION_INFO_BYTES, type ReplyOf, type RequestOf, sparseAreas } from './messages.ts'
import { CAP_SPARSE_MMAP, REGIONS, RegionFlag, RegionIndex } from './protocol.ts'
import type { RegionAccess } from './region-access.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** What DEVICE_GET_REGION_INFO is answered with. */
export interface RegionInfo {
  readonly answer: ReplyOf<'DEVICE_GET_REGION_INFO'>
  /** The file that the region, or parts of it, can be mapped from. */
  readonly fd: number | undefined
}

/**
 * Region information for a client. If only parts of a region can be mapped, they are listed after it, if there is room.
 * @vfio-user DEVICE_GET_REGION_INFO
 */
export function regionInfo(
  access: RegionAccess,
  { argsz, index }: RequestOf<'DEVICE_GET_REGION_INFO'>,
): RegionInfo {
  if (argsz < REGION_INFO_BYTES) throw new VfioUserError(Errno.EINVAL, `argsz is ${argsz}`)
  if (index >= REGIONS) throw new VfioUserError(Errno.EINVAL, `there is no region ${index}`)
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

/** Which parts there are, where that is not all of it. */
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
