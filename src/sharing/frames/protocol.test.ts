import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pictureIn, textIn } from './decode.ts'
import {
  ACKNOWLEDGE,
  BUFFER,
  BUFFER_REMOVED,
  DESCRIPTION,
  DescriptionFlag,
  EXTENTS,
  encode,
  FRAME,
  FrameSource,
  HEADER_BYTES,
  HELLO,
  MAGIC,
  type MessageKind,
  READY,
  REFUSED,
  RELEASE,
  SCANOUT,
  VERSION,
  Wanted,
  WireKind,
  WirePath,
} from './protocol.ts'

const PICTURE = {
  width: 0x1020,
  height: 0x3040,
  fourcc: 0x34325258,
  planeCount: 2,
  modifier: 0x0102_0304_0506_0708n,
  planes: [
    { offset: 0x100, stride: 0x200 },
    { offset: 0x300, stride: 0x400 },
  ],
}
const UUID = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i)
const WIRE_PICTURE =
  '20100000 40300000 58523234 02000000 08070605 04030201' +
  '00010000 00020000 00030000 00040000 00000000 00000000 00000000 00000000'
const WIRE_DESCRIPTION = `07000000 00000000 03000000 00000000 a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf ${WIRE_PICTURE}`
const DESCRIBED = {
  buffer: 7,
  flags: DescriptionFlag.PICTURE | DescriptionFlag.UUID,
  uuid: UUID,
  picture: PICTURE,
}
const text = (value: string) => new TextEncoder().encode(value)

/** Checks the bytes of a message, and that parsing them returns its fields. */
function onWire<T>(kind: MessageKind<T>, value: T, hex: string, descriptors = 0): void {
  const bytes = encode(kind, value, descriptors)
  assert.equal(Buffer.from(bytes).toString('hex'), hex.replaceAll(' ', ''))
  const { planeCount: _, ...rest } = PICTURE
  assert.deepEqual(pictureIn(PICTURE), rest)
  const again = encode(kind, kind.payload.parse(bytes.subarray(HEADER_BYTES)), descriptors)
  assert.deepEqual(again, bytes)
}

test('every message has the bytes of the documentation', () => {
  onWire(
    HELLO,
    { magic: MAGIC, version: VERSION, flags: Wanted.SCANOUTS | Wanted.BUFFERS },
    '20000000 01000000 00000000 00000000  4652414d 01000000 03000000 00000000',
  )
  onWire(REFUSED, { textBytes: 2, bytes: text('no') }, '1a000000 02000000 00000000 00000000  02000000 00000000 6e6f')
  onWire(
    BUFFER,
    {
      description: DESCRIBED,
      kind: WireKind.LINEAR,
      extents: 1,
      byteLength: 0x2000,
      nameBytes: 1,
      reasonBytes: 2,
      withheldBytes: 0,
      bytes: text('nwh'),
    },
    `8b000000 03000000 01000000 00000000  ${WIRE_DESCRIPTION}` +
      '02000000 01000000 00200000 00000000 01000000 02000000 00000000 00000000 6e7768',
    1,
  )
  onWire(
    EXTENTS,
    { buffer: 7, count: 1, elements: [{ file: 1, offset: 0x1000, length: 0x2000 }] },
    '38000000 04000000 00000000 00000000  07000000 00000000 01000000 00000000' +
      '01000000 00000000 00100000 00000000 00200000 00000000',
  )
  onWire(BUFFER_REMOVED, { buffer: 7 }, '18000000 05000000 00000000 00000000  07000000 00000000')
  onWire(DESCRIPTION, DESCRIBED, `68000000 06000000 00000000 00000000  ${WIRE_DESCRIPTION}`)
  onWire(
    SCANOUT,
    {
      scanout: 1,
      path: WirePath.COPY,
      buffer: 7,
      source: { x: 1, y: 2, width: 3, height: 4 },
      picture: PICTURE,
      textBytes: 1,
      bytes: text('c'),
    },
    '71000000 07000000 00000000 00000000  01000000 04000000 07000000 00000000' +
      `01000000 02000000 03000000 04000000 ${WIRE_PICTURE} 01000000 00000000 63`,
  )
  onWire(
    FRAME,
    {
      source: FrameSource.SCANOUT,
      id: 1,
      sequence: 9,
      time: 0x1_0000_0002,
      count: 1,
      elements: [{ x: 1, y: 2, width: 3, height: 4 }],
    },
    '40000000 08000000 00000000 00000000  00000000 01000000 01000000 00000000 09000000 00000000' +
      '02000000 01000000 01000000 02000000 03000000 04000000',
  )
  onWire(
    ACKNOWLEDGE,
    { source: FrameSource.BUFFER, id: 7, sequence: 9 },
    '28000000 09000000 00000000 00000000  01000000 00000000 07000000 00000000 09000000 00000000',
  )
  onWire(RELEASE, { buffer: 7 }, '18000000 0a000000 00000000 00000000  07000000 00000000')
  onWire(READY, undefined, '10000000 0b000000 00000000 00000000')
  assert.equal(textIn(text('é')), 'é')
})
