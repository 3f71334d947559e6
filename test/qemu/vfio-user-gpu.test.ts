import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DescribedKind } from '../../src/devices/virtio/gpu/contexts/cross-domain/protocol.ts'
import { GpuResponse } from '../../src/devices/virtio/gpu/protocol.ts'
import { vfioUserArguments } from '../../src/engines/qemu/arguments.ts'
import type { Rect } from '../../src/services/display.ts'
import type { FramebufferLayout } from '../../src/services/framebuffer-layout.ts'
import type { BufferKind } from '../../src/services/shared-buffer.ts'
import { FrameClient } from '../../src/sharing/frames/frame-client.ts'
import { UDMABUF_IMAGE } from '../udmabuf/udmabuf-image.ts'
import { scratchFolder } from './device-program.ts'
import { startGpu } from './gpu-process.ts'
import type { GraphicsReport } from './graphics-program.ts'
import { findImageForPrograms, MACHINE_FILES, mountMachineFiles } from './machine-files.ts'
import { PICTURES, paint } from './pictures-for-others.ts'
import { bootPortGuest } from './port-guest.ts'

const [WIDTH, HEIGHT] = [1024, 768]
const PROGRAM = fileURLToPath(new URL('./graphics-program.js', import.meta.url))
const folder = scratchFolder()

test('a program of the guest draws in the heap over vfio-user, and its screen is read in place', async (context) => {
  const image = await findImageForPrograms(UDMABUF_IMAGE)
  if (typeof image === 'string') {
    context.skip(image)
    return
  }
  const gpu = await startGpu(path.join(folder, 'gpu.sock'), ['--heap=64M'])
  const client = await FrameClient.connect(gpu.exported, { scanouts: false, buffers: true })
  const frames = picturesOf(client)
  frames.catch(() => {})
  const guest = await bootPortGuest({
    folder,
    image,
    memoryMiB: 1024,
    arguments: [...vfioUserArguments(gpu.socket), ...MACHINE_FILES],
  })
  try {
    await mountMachineFiles(guest, ['virtio_gpu'])
    const log = await guest.run('dmesg')
    assert.match(log, /features: \+virgl \+edid \+resource_blob \+host_visible/)
    assert.match(log, /features: \+context_init/)
    assert.match(log, /cap set 0: id 5, max-version 0, max-size 16/)
    const interrupts = await guest.run('cat /proc/interrupts')
    for (const queue of ['control', 'cursor'])
      assert.match(interrupts, new RegExp(`PCI-MSIX.*virtio\\d+-${queue}$`, 'm'))

    const said = await guest.run(
      `chroot /mnt ${process.execPath} ${PROGRAM} >/tmp/said 2>&1 </dev/null &
       echo $! >/tmp/program
       while kill -0 $! 2>/dev/null && ! grep -q '^{' /tmp/said; do sleep 0.1; done
       cat /tmp/said`,
    )
    assert.match(said, /^\{/, said)
    const printed: GraphicsReport = JSON.parse(said)
    const picture = { stride: WIDTH * 4, size: WIDTH * HEIGHT * 4, blobId: 1, before: false }
    const { nv12, tiled } = await frames
    const kinds = [nv12, tiled].map(({ kind }) => (kind === 'dma-buf' ? DescribedKind.DMA_BUF : DescribedKind.LINEAR))
    assert.deepEqual(printed, {
      ...{ capset: [1, 0, 0, 1], ...picture },
      described: {
        probe: [GpuResponse.ERR_INVALID_RESOURCE_ID, 0],
        nv12: [GpuResponse.OK_NODATA, kinds[0]],
        tiled: [GpuResponse.OK_NODATA, kinds[1]],
      },
    })
    for (const [seen, { size, ...drawn }] of [
      [nv12, PICTURES.nv12],
      [tiled, PICTURES.tiled],
    ] as const) {
      assert.deepEqual(seen.picture, drawn)
      assert.deepEqual(seen.damage, [{ x: 0, y: 0, width: drawn.width, height: drawn.height }])
      const bytes = new Uint8Array(size)
      paint(bytes, { ...drawn, size })
      assert.ok(Buffer.from(seen.bytes).equals(bytes))
    }

    // QEMU maps the window into its address space: drawing sends no messages.
    assert.match(readFileSync(`/proc/${guest.qemu.pid}/maps`, 'utf8'), /rw-s .*memfd:graphics heap /)

    const { data } = await gpu.pixels()
    const seen = new Uint32Array(data.slice().buffer)
    const drawn = seen.map((_, i) => (Math.floor(i / WIDTH) << 12) | (i % WIDTH))
    drawn[100 * WIDTH + 200] = 0xab_cd_ef
    assert.ok(Buffer.from(seen.buffer).equals(Buffer.from(drawn.buffer)))
    const { scanouts, contexts, heap, errors } = await gpu.inspect()
    // This kernel flushes the whole framebuffer after any reported damage.
    assert.deepEqual(
      [scanouts[0].path, scanouts[0].lastDamage],
      [nv12.kind, { x: 0, y: 0, width: WIDTH, height: HEIGHT }],
    )
    // The kernel's console has a buffer too, whose type the device chooses.
    assert.deepEqual(
      contexts.map(({ capset, name, resources }) => [capset, name, resources]),
      [
        [5, 'modprobe', 0],
        [5, 'node', 4],
      ],
    )
    assert.deepEqual([heap?.blocks, heap?.mapped, heap?.moves], [2, 2, 0])
    // Query of the program for the feature to describe buffers.
    assert.deepEqual(errors, { ERR_INVALID_RESOURCE_ID: 1 })

    await guest.run('kill $(cat /tmp/program); while kill -0 $(cat /tmp/program) 2>/dev/null; do sleep 0.1; done')
    const after = await gpu.inspect()
    assert.deepEqual([after.contexts.length, after.heap?.blocks, after.errors], [1, 0, errors])
  } finally {
    await guest.kill()
    client.close()
    await gpu.stop()
  }
})

/** Picture of a buffer, received by the program of the host. */
interface Seen {
  readonly kind: BufferKind
  readonly picture: FramebufferLayout
  readonly damage: readonly Rect[]
  readonly bytes: Uint8Array
}

/** Returns the first frame of each buffer of the guest's program. */
async function picturesOf(client: FrameClient): Promise<Record<keyof typeof PICTURES, Seen>> {
  const seen: Partial<Record<keyof typeof PICTURES, Seen>> = {}
  for await (const frame of client.frames()) {
    const { buffer, picture, damage } = frame
    const name = picture.fourcc === PICTURES.nv12.fourcc ? 'nv12' : 'tiled'
    seen[name] ??= { kind: buffer.kind, picture, damage, bytes: frame.bytes.slice() }
    frame.acknowledge()
    const { nv12, tiled } = seen
    if (nv12 && tiled) return { nv12, tiled }
  }
  throw new Error('the device has ended')
}
