/**
 * A program of the guest that draws into graphics memory of the device, as Mesa and minigbm do: it asks what a picture needs,
 * allocates it from the heap, maps it through the host-visible window, and shows it. Told of itself as one line of JSON.
 */
import { openSync, readdirSync } from 'node:fs'
import { mapFile } from '../../src/host/linux/address-space.ts'
import { addressOf, memoryAt } from '../../src/host/linux/ffi.ts'
import { systemCall } from '../../src/host/linux/system-call.ts'

const ioctl = systemCall<[fd: number, request: number, argument: ArrayBufferView]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)

// Requests of drm/virtgpu_drm.h and drm/drm.h, with the sizes of their arguments.
const VIRTGPU_MAP = 0xc010_6441
const VIRTGPU_EXECBUFFER = 0xc028_6442
const VIRTGPU_WAIT = 0xc008_6448
const VIRTGPU_GET_CAPS = 0xc018_6449
const VIRTGPU_RESOURCE_CREATE_BLOB = 0xc030_644a
const VIRTGPU_CONTEXT_INIT = 0xc010_644b
const MODE_GETRESOURCES = 0xc040_64a0
const MODE_SETCRTC = 0xc068_64a2
const MODE_GETCONNECTOR = 0xc050_64a7
const MODE_DIRTYFB = 0xc018_64b1
const MODE_ADDFB2 = 0xc068_64b8

const CROSS_DOMAIN = 5
const XR24 = 0x3432_5258
const PAGE = 4096
const [WIDTH, HEIGHT] = [1024, 768]

const card = readdirSync('/dev/dri').find((name) => name.startsWith('card'))
const fd = openSync(`/dev/dri/${card}`, 'r+')

/** What it tells. */
export interface Told {
  readonly capset: readonly number[]
  readonly stride: number
  readonly size: number
  readonly blobId: number
  /** Whether there was anything in the picture before it drew. */
  readonly before: boolean
}

/** An argument of 32-bit words; numbers beyond are two of them. */
function words(...values: readonly number[]): Uint32Array {
  return Uint32Array.from(values)
}

function pointer(array: ArrayBufferView): [low: number, high: number] {
  const address = addressOf(array)
  return [address >>> 0, Math.floor(address / 2 ** 32)]
}

function createBlob(mem: number, flags: number, size: number, blobId: number) {
  const argument = words(mem, flags, 0, 0, size, 0, 0, 0, 0, 0, blobId, 0)
  ioctl('creating a blob', fd, VIRTGPU_RESOURCE_CREATE_BLOB, argument)
  return { handle: argument[2], resource: argument[3] }
}

function map(handle: number, size: number): Uint32Array {
  const argument = words(0, 0, handle, 0)
  ioctl('asking where a blob is', fd, VIRTGPU_MAP, argument)
  const { address } = mapFile('mapping a blob', fd, argument[0] + argument[1] * 2 ** 32, size)
  return new Uint32Array(memoryAt(address, size))
}

/** Sends commands; those with a buffer have a fence that is waited for. */
function execute(commands: Uint32Array, buffer?: number): void {
  const handles = words(buffer ?? 0)
  const count = buffer === undefined ? 0 : 1
  const flags = buffer === undefined ? 0 : 4
  const argument = words(
    ...[flags, commands.byteLength],
    ...pointer(commands),
    ...pointer(handles),
    ...[count, 0xffff_ffff, 0, 0],
  )
  ioctl('sending commands', fd, VIRTGPU_EXECBUFFER, argument)
  if (buffer !== undefined) ioctl('waiting', fd, VIRTGPU_WAIT, words(buffer, 0))
}

const capset = new Uint32Array(4)
ioctl('asking for capabilities', fd, VIRTGPU_GET_CAPS, words(CROSS_DOMAIN, 0, ...pointer(capset), 16, 0))

// The type of the context, and one ring.
const parameters = words(1, 0, CROSS_DOMAIN, 0, 2, 0, 1, 0)
ioctl('making a context', fd, VIRTGPU_CONTEXT_INIT, words(2, 0, ...pointer(parameters)))

const ring = createBlob(1, 1, PAGE, 0)
const answers = map(ring.handle, PAGE)
execute(words(1 | (20 << 16), 0, ring.resource, 0, 0))
execute(words(2 | (24 << 16), 0, WIDTH, HEIGHT, XR24, 0), ring.handle)
const [stride, size, blobId] = [answers[0], answers[10], answers[12]]

const picture = createBlob(2, 1 | 2, size, blobId)
const pixels = map(picture.handle, size)
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

const told: Told = { capset: [...capset], stride, size, blobId, before }
process.stdout.write(`${JSON.stringify(told)}\n`)
// What it shows is shown until it ends.
setInterval(() => {}, 60_000)
