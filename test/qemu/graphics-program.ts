/**
 * A program of the guest that draws into graphics memory of the device, as Mesa and minigbm do: it asks what a picture needs,
 * allocates it from the heap, maps it through the host-visible window, and shows it. Others it only describes, for who has them on
 * the host. Told of itself as one line of JSON.
 */
import { type Descriptions, drawForOthers } from './described-pictures.ts'
import {
  BlobFlag,
  BlobMem,
  capset,
  createBlob,
  fd,
  imageRequirements,
  ioctl,
  map,
  pointer,
  words,
} from './virtgpu-context.ts'

// Requests of drm/drm.h, with the sizes of their arguments.
const MODE_GETRESOURCES = 0xc040_64a0
const MODE_SETCRTC = 0xc068_64a2
const MODE_GETCONNECTOR = 0xc050_64a7
const MODE_DIRTYFB = 0xc018_64b1
const MODE_ADDFB2 = 0xc068_64b8

const XR24 = 0x3432_5258
const [WIDTH, HEIGHT] = [1024, 768]

/** What it tells. */
export interface Told {
  readonly capset: readonly number[]
  readonly stride: number
  readonly size: number
  readonly blobId: number
  /** Whether there was anything in the picture before it drew. */
  readonly before: boolean
  /** Of other buffers, which nothing shows. */
  readonly described: Descriptions
}

const { strides, size, blobId } = imageRequirements(WIDTH, HEIGHT, XR24)
const [stride] = strides
const picture = createBlob(BlobMem.HOST3D, BlobFlag.MAPPABLE | BlobFlag.SHAREABLE, size, blobId)
const pixels = new Uint32Array(map(picture, size))
const before = pixels.some((pixel) => pixel !== 0)
for (let y = 0; y < HEIGHT; y++) for (let x = 0; x < WIDTH; x++) pixels[(y * stride) / 4 + x] = (y << 12) | x

const framebuffer = words(
  ...[0, WIDTH, HEIGHT, XR24, 0],
  ...[picture.handle, 0, 0, 0, stride, 0, 0, 0, 0, 0, 0, 0],
  ...Array(9).fill(0),
)
ioctl('making a framebuffer', fd, MODE_ADDFB2, framebuffer)

const [crtcs, connectors] = [new Uint32Array(16), new Uint32Array(16)]
const resources = words(0, 0, ...pointer(crtcs), ...pointer(connectors), 0, 0, 0, 16, 16, 0, 0, 0, 0, 0)
ioctl('asking for connectors', fd, MODE_GETRESOURCES, resources)

const modes = new Uint8Array(68 * 64)
const connector = new Uint32Array(20)
connector.set(pointer(modes), 2)
connector[8] = 64
connector[12] = connectors[0]
ioctl('asking for modes', fd, MODE_GETCONNECTOR, connector)
const shorts = new DataView(modes.buffer)
const mode = Array.from({ length: connector[8] }, (_, i) => i * 68).find(
  (at) => shorts.getUint16(at + 4, true) === WIDTH && shorts.getUint16(at + 14, true) === HEIGHT,
)
if (mode === undefined) throw new Error('no such mode')
const crtc = new Uint8Array(104)
new Uint32Array(crtc.buffer, 0, 9).set([...pointer(connectors), 1, crtcs[0], framebuffer[0], 0, 0, 0, 1])
crtc.set(modes.subarray(mode, mode + 68), 36)
ioctl('showing the picture', fd, MODE_SETCRTC, crtc)

// One pixel changes.
pixels[(100 * stride) / 4 + 200] = 0xab_cd_ef
const clip = Uint16Array.of(200, 100, 201, 101)
ioctl('flushing', fd, MODE_DIRTYFB, words(framebuffer[0], 0, 0, 1, ...pointer(clip)))

const told: Told = { capset: [...capset], stride, size, blobId, before, described: drawForOthers() }
process.stdout.write(`${JSON.stringify(told)}\n`)
// What it shows is shown until it ends.
setInterval(() => {}, 60_000)
