import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { liesWithin, MODIFIER_LINEAR } from './pixels/image-planes.ts'
import { drmFormat } from './pixels/pixel-format.ts'
import type { PixelLayout } from './pixels/pixel-layout.ts'
import { type Resource, Resource2d } from './resources/resource.ts'
import type { SavedScanout } from './scanout.ts'

/** Returns the layout of a saved surface of a resource. @throws {SnapshotError} if it does not fit the resource */
export function surfaceLayout(
  { fourcc, width, height, planes }: NonNullable<SavedScanout['surface']>,
  resource: Resource,
): PixelLayout {
  if (resource instanceof Resource2d) return resource.layout
  const format = drmFormat(fourcc)
  const layout = format && { width, height, format, fourcc, modifier: MODIFIER_LINEAR, planes }
  if (!layout || !liesWithin(layout, resource.byteLength)) {
    throw new SnapshotError(`resource ${resource.id} cannot be shown: its bytes are not such a surface`)
  }
  return layout
}
