import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import { DescriptionFlag, MAX_PLANES, type WireDescription, type WirePicture } from './protocol.ts'

/** Decoded description of a buffer. */
export interface Description {
  readonly id: number
  readonly picture: FramebufferLayout | undefined
  readonly uuid: Uint8Array | undefined
}

/** Decodes a description. */
export function descriptionIn({ buffer, flags, uuid, picture }: WireDescription): Description {
  return {
    id: buffer,
    picture: flags & DescriptionFlag.PICTURE ? pictureIn(picture) : undefined,
    uuid: flags & DescriptionFlag.UUID ? uuid : undefined,
  }
}

export function pictureIn({ width, height, fourcc, modifier, planeCount, planes }: WirePicture): FramebufferLayout {
  return { width, height, fourcc, modifier, planes: planes.slice(0, Math.min(planeCount, MAX_PLANES)) }
}

export function textIn(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
