/**
 * A program of the guest that draws into graphics memory of the device, as Mesa and minigbm do: it asks what a picture
 * needs, allocates it from the heap, maps it through the host-visible window, and shows it. Others it only describes,
 * for who has them on the host. The program prints the rest as one line of JSON.
 */
import { type Descriptions, drawForOthers } from './described-pictures.ts'
import { KernelScreen, XR24 } from './kernel-screen.ts'
import { BlobFlag, BlobMem, capset, createBlob, fd, imageRequirements, map } from './virtgpu-context.ts'

const [WIDTH, HEIGHT] = [1024, 768]

/** Output of the program. */
export interface GraphicsReport {
  readonly capset: readonly number[]
  readonly stride: number
  readonly size: number
  readonly blobId: number
  /** True if the picture had non-zero bytes before it drew. */
  readonly before: boolean
  /** Buffers that no scanout shows. */
  readonly described: Descriptions
}

const { strides, size, blobId } = imageRequirements(WIDTH, HEIGHT, XR24)
const [stride] = strides
const picture = createBlob(BlobMem.HOST3D, BlobFlag.MAPPABLE | BlobFlag.SHAREABLE, size, blobId)
const pixels = new Uint32Array(map(picture, size))
const before = pixels.some((pixel) => pixel !== 0)
for (let y = 0; y < HEIGHT; y++) for (let x = 0; x < WIDTH; x++) pixels[(y * stride) / 4 + x] = (y << 12) | x

const screen = new KernelScreen(fd)
const { handle } = picture
const framebuffer = screen.add({ handle, width: WIDTH, height: HEIGHT, stride, offset: 0 })
screen.show(framebuffer, WIDTH, HEIGHT)

// One pixel changes.
pixels[(100 * stride) / 4 + 200] = 0xab_cd_ef
screen.flush(framebuffer, { x: 200, y: 100, width: 1, height: 1 })

const printed: GraphicsReport = { capset: [...capset], stride, size, blobId, before, described: drawForOthers() }
process.stdout.write(`${JSON.stringify(printed)}\n`)
// The picture stays on the screen until the program exits.
setInterval(() => {}, 60_000)
