/** Descriptions of buffers by a program of the guest for programs of the host, and its drawings on them. */
import { PICTURES, type PictureForOthers, paint } from './pictures-for-others.ts'
import { ask, BlobFlag, BlobMem, createBlob, imageRequirements, map } from './virtgpu-context.ts'

const DESCRIBE_IMAGE = 0xf0
const PRESENT = 0xf1

/** Answers of the device, in order. */
export interface Descriptions {
  /** Answer to an empty description. */
  readonly probe: readonly number[]
  readonly nv12: readonly number[]
  readonly tiled: readonly number[]
}

function describe(resource: number, picture: PictureForOthers): readonly number[] {
  const { width, height, fourcc, modifier, planes } = picture
  const filled = (values: readonly number[]) => [...values, 0, 0, 0].slice(0, 4)
  return ask(DESCRIBE_IMAGE, [
    ...[resource, width, height, fourcc, Number(modifier & 0xffff_ffffn), Number(modifier >> 32n), planes.length, 0],
    ...filled(planes.map(({ stride }) => stride)),
    ...filled(planes.map(({ offset }) => offset)),
  ]).slice(0, 2)
}

/** Draws, and reports the damage. */
function drawOn(blob: { readonly resource: number; readonly handle: number }, picture: PictureForOthers): void {
  paint(new Uint8Array(map(blob, picture.size)), picture)
  ask(PRESENT, [blob.resource, 0, 0, 0, picture.width, picture.height])
}

/** Video frame in the heap, with the layout of the device. */
function showVideo(): readonly number[] {
  const { nv12 } = PICTURES
  const { strides, offsets, size, blobId } = imageRequirements(nv12.width, nv12.height, nv12.fourcc)
  const picture = { ...nv12, planes: [0, 1].map((i) => ({ offset: offsets[i], stride: strides[i] })), size }
  const blob = createBlob(BlobMem.HOST3D, BlobFlag.MAPPABLE | BlobFlag.SHAREABLE, size, blobId)
  const answer = describe(blob.resource, picture)
  drawOn(blob, picture)
  return answer
}

/** Guest pages with pixels in an order of another GPU, as from one that was passed through. */
function showTiled(): readonly number[] {
  const { tiled } = PICTURES
  const blob = createBlob(BlobMem.GUEST, BlobFlag.MAPPABLE | BlobFlag.SHAREABLE, tiled.size, 0)
  const answer = describe(blob.resource, tiled)
  drawOn(blob, tiled)
  return answer
}

export function drawForOthers(): Descriptions {
  return { probe: describe(0, PICTURES.tiled), nv12: showVideo(), tiled: showTiled() }
}
