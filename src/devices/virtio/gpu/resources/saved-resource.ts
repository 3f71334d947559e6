import type { GuestMemory } from '../../../../memory/guest-memory.ts'
import { MemoryError } from '../../../../memory/memory-error.ts'
import { ScatterList } from '../../../../memory/scatter-list.ts'
import type { NotShared, SharedBuffer } from '../../../../services/shared-buffer.ts'
import { elements, integer, nullable, record, type Shaped } from '../../../../snapshot/shape.ts'
import { SnapshotError } from '../../../../snapshot/snapshot-error.ts'
import { MODIFIER_LINEAR } from '../pixels/image-planes.ts'
import { imageFormat } from '../pixels/pixel-format.ts'
import { layoutEnd, type PixelLayout, packedLayout } from '../pixels/pixel-layout.ts'
import { BlobFlag } from '../protocol.ts'
import { MAX_ENTRIES } from './backing.ts'
import { GuestBlob, type Resource, Resource2d } from './resource.ts'

const U32 = integer(0, 0xffff_ffff)
const SIDE = integer(1, 0xffff_ffff)
const BLOB_FLAGS =
  BlobFlag.USE_MAPPABLE | BlobFlag.USE_SHAREABLE | BlobFlag.USE_CROSS_DEVICE | BlobFlag.CREATE_GUEST_HANDLE
/** Elements of the ranges of pages: an entry that crosses memory regions has several. */
const MAX_RANGES = 8 * MAX_ENTRIES

/** Shape of a saved resource: an image, which is a 2D resource with its copy, or a guest blob. */
export const RESOURCE = record({
  id: integer(1, 0xffff_ffff),
  image: nullable(
    record({ fourcc: U32, width: SIDE, height: SIDE, pixels: elements(Uint8Array, 0, Number.MAX_SAFE_INTEGER) }),
  ),
  blob: nullable(record({ size: integer(1, Number.MAX_SAFE_INTEGER), flags: integer(0, 2 ** 31 - 1) })),
  /** Guest address and length of each range of pages. */
  ranges: nullable(elements(Float64Array, 2, MAX_RANGES)),
  uuid: nullable(elements(Uint8Array, 16)),
})
export type SavedResource = Shaped<typeof RESOURCE>

/** Returns the state of a resource. @throws {SnapshotError} if its bytes are the host's, or only a GPU can read them */
export function saveResource(resource: Resource): SavedResource {
  const { id } = resource
  const { layout, uuid } = resource.exported
  const tiled = layout !== undefined && layout.modifier !== MODIFIER_LINEAR
  if (tiled) throw new SnapshotError(`resource ${id} has a modifier that only a GPU can read: it cannot be saved`)
  if (resource.attached && !resource.backing) throw new SnapshotError(`pages of resource ${id} are not in guest memory`)
  const common = { id, ranges: resource.ranges ?? null, uuid: uuid ?? null }
  if (resource instanceof Resource2d) {
    const { fourcc, width, height } = resource.layout
    return { ...common, image: { fourcc, width, height, pixels: resource.shadow }, blob: null }
  }
  if (!(resource instanceof GuestBlob)) throw new SnapshotError(`resource ${id} is a host blob: it cannot be saved`)
  const { size, flags } = resource
  return { ...common, image: null, blob: { size, flags } }
}

/** Checks all of a saved resource that does not depend on guest memory. @throws {SnapshotError} if it is not valid */
export function checkResource({ id, image, blob, ranges }: SavedResource, guestHandles: boolean): void {
  if ((image === null) === (blob === null)) throw new SnapshotError(`resource ${id} must be an image or a blob`)
  if (image) {
    const length = layoutEnd(imageLayout(id, image))
    if (image.pixels.length !== length) {
      throw new SnapshotError(`resource ${id} has ${image.pixels.length} bytes of pixels, not ${length}`)
    }
  }
  const allowed = guestHandles ? BLOB_FLAGS : BLOB_FLAGS & ~BlobFlag.CREATE_GUEST_HANDLE
  if (blob && (blob.flags & ~allowed) !== 0) throw new SnapshotError(`resource ${id} has unknown flags ${blob.flags}`)
  if (ranges && ranges.length % 2 !== 0) throw new SnapshotError(`resource ${id} has pages without a length`)
}

/** Layout of a saved image. @throws {SnapshotError} if 2D resources cannot have its format */
function imageLayout(id: number, { fourcc, width, height }: NonNullable<SavedResource['image']>): PixelLayout {
  const format = imageFormat(fourcc)
  if (!format) throw new SnapshotError(`resource ${id} has an unknown format ${fourcc}`)
  return packedLayout(width, height, format)
}

/**
 * Returns a resource from its state, which `checkResource` accepted.
 * @param allocate allocates the memory of an image
 * @throws {SnapshotError} if its pages are not in guest memory, or the host has no memory
 */
export function restoreResource(
  { id, image, blob, ranges }: SavedResource,
  memory: GuestMemory,
  allocate: (byteLength: number, id: number) => SharedBuffer | NotShared | undefined,
): Resource {
  const resource = image ? restoreImage(id, image, allocate) : new GuestBlob(id, blob?.size ?? 0, blob?.flags)
  if (!ranges) return resource
  const backing = new ScatterList(memory)
  try {
    for (let i = 0; i < ranges.length; i += 2) backing.add(ranges[i], ranges[i + 1])
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error
    throw new SnapshotError(`resource ${id}: ${error.message}`)
  }
  if (backing.byteLength === 0 || !resource.accepts(backing)) {
    throw new SnapshotError(`resource ${id} needs more pages than ${backing.byteLength} bytes`)
  }
  resource.attach(backing)
  return resource
}

function restoreImage(
  id: number,
  image: NonNullable<SavedResource['image']>,
  allocate: (byteLength: number, id: number) => SharedBuffer | NotShared | undefined,
): Resource2d {
  const resource = new Resource2d(id, imageLayout(id, image), allocate(image.pixels.length, id))
  resource.shadow.set(image.pixels)
  return resource
}
