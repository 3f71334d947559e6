import { writeFile } from 'node:fs/promises'
import { framebufferPixels } from '../../devices/virtio/gpu/pixels/framebuffer-pixels.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { FrameClient } from '../../sharing/frames/frame-client.ts'
import type { ReceivedBuffer } from '../../sharing/frames/received-buffer.ts'
import { encodePng } from '../run/screenshot.ts'
import type { FramesOptions } from './options.ts'

/** A picture that is to be saved. */
interface Wanted {
  readonly what: string
  readonly buffer: ReceivedBuffer
  readonly picture: FramebufferLayout
  readonly rect: Rect
}

/** Saves what a scanout shows, or what a buffer is, as PNG. */
export async function dumpFrame(client: FrameClient, options: FramesOptions): Promise<void> {
  await client.ready
  const { what, buffer, picture, rect } =
    options.buffer === undefined ? ofScanout(client, options.scanout) : ofBuffer(client, options.buffer)
  buffer.beginRead()
  const pixels = framebufferPixels(buffer.bytes, picture, rect)
  buffer.endRead()
  if ('reason' in pixels) throw new Error(`${what} cannot be turned into pixels: ${pixels.reason}`)
  await writeFile(options.output ?? '', encodePng({ ...rect, data: pixels }))
}

function ofScanout(client: FrameClient, index: number | undefined): Wanted {
  const on = [...client.scanouts.values()].filter(({ path }) => path).sort((a, b) => a.index - b.index)
  const scanout = index === undefined ? on[0] : on.find((one) => one.index === index)
  if (!scanout?.picture) {
    throw new UsageError(index === undefined ? 'no screen of the guest is on' : `screen ${index} of the guest is off`)
  }
  const what = `screen ${scanout.index}`
  if (!scanout.buffer) throw new UsageError(`${what} cannot be had: ${scanout.reason}`)
  return { what, buffer: scanout.buffer, picture: scanout.picture, rect: scanout.source }
}

function ofBuffer(client: FrameClient, id: number): Wanted {
  const buffer = client.buffers.get(id)
  if (!buffer) throw new UsageError(`there is no buffer ${id}: list them`)
  const { picture } = buffer
  if (!picture) throw new UsageError(`buffer ${id} has no layout: the guest did not describe its pixels`)
  return { what: `buffer ${id}`, buffer, picture, rect: { x: 0, y: 0, width: picture.width, height: picture.height } }
}
