import { fourccName } from '../../devices/virtio/gpu/pixels/image-planes.ts'
import { uuidText } from '../../log/uuid-text.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { ReceivedScanout } from '../../sharing/frames/frame-client.ts'
import type { ReceivedBuffer } from '../../sharing/frames/received-buffer.ts'

/** Returns a framebuffer layout for scripts. */
function pictureFacts({ width, height, fourcc, modifier, planes }: FramebufferLayout) {
  return { width, height, fourcc: fourccName(fourcc), modifier: `0x${modifier.toString(16)}`, planes }
}

/** Returns a scanout for scripts. */
export function scanoutFacts({ index, path, reason, buffer, picture, source }: ReceivedScanout) {
  return {
    index,
    path: path ?? null,
    reason,
    buffer: buffer?.id ?? null,
    source,
    picture: picture ? pictureFacts(picture) : null,
  }
}

/** Returns a buffer for scripts. */
export function bufferFacts({ id, name, kind, reason, withheld, byteLength, picture, uuid }: ReceivedBuffer) {
  return {
    id,
    name,
    kind,
    reason,
    /** Reason why its bytes are not shared; null if they are. */
    withheld: withheld || null,
    bytes: byteLength,
    uuid: uuid ? uuidText(uuid) : null,
    picture: picture ? pictureFacts(picture) : null,
  }
}

function pictureLine(picture: FramebufferLayout): string {
  const { width, height, fourcc, modifier, planes } = pictureFacts(picture)
  const where = planes.map(({ offset, stride }) => `${stride} a row from ${offset}`).join(', ')
  return `${width}x${height} ${fourcc}${modifier === '0x0' ? '' : ` modifier ${modifier}`}, ${where}`
}

export function scanoutLine({ index, path, buffer, picture, source }: ReceivedScanout): string {
  if (!path || !picture) return `scanout ${index}  off`
  const { x, y, width, height } = source
  const all = width === picture.width && height === picture.height
  const part = all ? '' : `, of that ${width}x${height} at ${x},${y}`
  return `scanout ${index}  ${path}${buffer ? `, buffer ${buffer.id}` : ''}: ${pictureLine(picture)}${part}`
}

export function bufferLine({ id, name, kind, byteLength, picture, uuid }: ReceivedBuffer): string {
  const what = picture ? `: ${pictureLine(picture)}` : ', no picture'
  return `buffer ${id}  ${kind}, ${name}, ${byteLength} bytes${what}${uuid ? `, uuid ${uuidText(uuid)}` : ''}`
}
