import type { GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Surface } from '../../services/display.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import {
  BUFFER,
  DescriptionFlag,
  EXTENTS,
  encode,
  MAX_EXTENTS,
  MAX_FILES,
  MAX_PLANES,
  MAX_TEXT_BYTES,
  REFUSED,
  SCANOUT,
  type WireDescription,
  WireKind,
  WirePath,
  type WirePicture,
} from './protocol.ts'

/** Encoded message and its descriptors, which are borrowed: open while the buffer is held. */
export interface OutgoingMessage {
  readonly bytes: Uint8Array
  readonly descriptors: readonly Descriptor[]
}

const NO_UUID = new Uint8Array(16)
const NO_RECT: Rect = { x: 0, y: 0, width: 0, height: 0 }
const NO_PICTURE: WirePicture = { width: 0, height: 0, fourcc: 0, planeCount: 0, modifier: 0n, planes: [] }
const PATHS = {
  'dma-buf': WirePath.DMA_BUF,
  linear: WirePath.LINEAR,
  scatter: WirePath.SCATTER,
  copy: WirePath.COPY,
} as const

/** Encodes a REFUSED message. @param reason why the connection ends */
export function refusal(reason: string): Uint8Array {
  const bytes = textBytes(reason)
  return encode(REFUSED, { textBytes: bytes.length, bytes })
}

/**
 * Encodes the announcement of a buffer, which the caller must hold.
 * @param memoryFiles true if consumers may receive files that contain more than the buffer
 * @returns messages in sending order. Send each with its own sendmsg(2): a read never continues past a message with
 *   descriptors
 */
export function bufferMessages(id: number, buffer: GuestBuffer, memoryFiles: boolean): OutgoingMessage[] {
  const given = sharedHandles(buffer, memoryFiles)
  const { handles } = buffer
  const extents = handles.kind === 'linear' && given.withheld === '' ? handles.extents : []
  const [name, reason, withheld] = [buffer.name, buffer.reason, given.withheld].map(textBytes)
  const head = {
    description: descriptionOf(id, buffer),
    kind: buffer.kind === 'dma-buf' ? WireKind.DMA_BUF : WireKind.LINEAR,
    extents: extents.length,
    byteLength: buffer.byteLength,
    nameBytes: name.length,
    reasonBytes: reason.length,
    withheldBytes: withheld.length,
    bytes: joined([name, reason, withheld]),
  }
  const bytes = encode(BUFFER, head, given.descriptors.length)
  const parts: Uint8Array[] = []
  for (let at = 0; at < extents.length; at += MAX_EXTENTS) {
    const elements = extents.slice(at, at + MAX_EXTENTS).map(({ file, offset, length }) => {
      return { file: given.descriptors.indexOf(file), offset, length }
    })
    parts.push(encode(EXTENTS, { buffer: id, count: elements.length, elements }))
  }
  return [{ bytes, descriptors: given.descriptors }, ...parts.map((part) => ({ bytes: part, descriptors: [] }))]
}

export function descriptionOf(id: number, { layout, uuid }: GuestBuffer): WireDescription {
  return {
    buffer: id,
    flags: (layout ? DescriptionFlag.PICTURE : 0) | (uuid ? DescriptionFlag.UUID : 0),
    uuid: uuid ?? NO_UUID,
    picture: layout ? wirePicture(layout) : NO_PICTURE,
  }
}

/**
 * Encodes a scanout.
 * @param buffer number of its surface's buffer; 0 if consumers do not receive it
 */
export function scanoutMessage(scanout: number, surface: Surface | undefined, buffer: number): Uint8Array {
  const bytes = textBytes(surface?.reason ?? '')
  return encode(SCANOUT, {
    scanout,
    path: surface ? PATHS[surface.path] : WirePath.OFF,
    buffer,
    source: surface?.source ?? NO_RECT,
    picture: surface ? wirePicture(surface.layout) : NO_PICTURE,
    textBytes: bytes.length,
    bytes,
  })
}

/** Descriptors of a buffer, or the reason why they are withheld. */
function sharedHandles(
  buffer: GuestBuffer,
  memoryFiles: boolean,
): { readonly descriptors: readonly Descriptor[]; readonly withheld: string } {
  const { handles } = buffer
  if (handles.kind === 'dma-buf') return { descriptors: [handles.descriptor], withheld: '' }
  if (!memoryFiles && buffer.info.owner !== 'host') {
    const what = buffer.info.owner === 'guest' ? 'all guest memory' : 'the whole heap'
    return { descriptors: [], withheld: `its file contains ${what}, and is shared only with --export-memory` }
  }
  const files = [...new Set(handles.extents.map(({ file }) => file))]
  if (files.length <= MAX_FILES) return { descriptors: files, withheld: '' }
  return { descriptors: [], withheld: `it lies in ${files.length} files, and the maximum is ${MAX_FILES}` }
}

function wirePicture({ width, height, fourcc, modifier, planes }: FramebufferLayout): WirePicture {
  const planeCount = Math.min(planes.length, MAX_PLANES)
  return { width, height, fourcc, planeCount, modifier, planes: planes.slice(0, planeCount) }
}

function textBytes(text: string): Uint8Array {
  return new TextEncoder().encode(text).subarray(0, MAX_TEXT_BYTES)
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  return bytes
}
