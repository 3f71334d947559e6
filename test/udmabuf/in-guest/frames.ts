import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { openDescriptors, PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import { createReactor } from '../../../src/host/linux/reactor/create-reactor.ts'
import type { Frame } from '../../../src/sharing/frames/frame.ts'
import { FrameClient } from '../../../src/sharing/frames/frame-client.ts'
import { FrameServer } from '../../../src/sharing/frames/frame-server.ts'
import { GpuGuest } from './gpu-guest.ts'

const MODE = { width: 128, height: 64 }
const WHOLE = { x: 0, y: 0, ...MODE }
const PAGES = 8

/** Runs `use` with a guest that has an export socket, and a consumer that receives frames one by one. */
async function withConsumer(
  use: (guest: GpuGuest, next: () => Promise<Frame>, client: FrameClient) => Promise<void>,
): Promise<void> {
  const before = openDescriptors()
  const file = path.join(tmpdir(), 'frames.sock')
  const reactor = createReactor()
  let server: FrameServer | undefined
  const guest = new GpuGuest({
    display: (buffers) => {
      server = FrameServer.listen(file, buffers, reactor)
      return server
    },
  })
  reactor.keepMicrotasksRunning()
  const running = reactor.run()
  const client = await FrameClient.connect(file, { reactor })
  const frames = client.frames()
  try {
    await use(
      guest,
      async () => {
        const { value } = await frames.next()
        assert.ok(value)
        return value
      },
      client,
    )
  } finally {
    client.close()
    server?.close()
    reactor.stop()
    await running
    await guest.close()
    reactor.close()
  }
  assert.equal(openDescriptors(), before)
}

test('another driver imports a dma-buf of the export socket, and sees each flush', async () => {
  await withConsumer(async (guest, next) => {
    const entries = guest.scatter(PAGES)
    guest.draw(entries)
    guest.createBlob(1, entries)
    guest.gpu.setScanoutBlob(0, 1, MODE)
    const first = await next()
    const { buffer } = first
    assert.deepEqual([buffer.kind, buffer.byteLength, first.damage], ['dma-buf', PAGES * PAGE, [WHOLE]])
    assert.deepEqual(first.picture.planes, [{ offset: 0, stride: MODE.width * 4 }])
    const handle = guest.vgem.import(buffer)
    const back = guest.vgem.export(handle)
    assert.ok(guest.contents(entries).equals(back.bytes))
    first.acknowledge()
    for (let i = 0; i < 3; i++) {
      guest.draw(entries)
      const damage = { x: 8 * i, y: i, width: 16, height: 4 }
      guest.gpu.flush(1, damage)
      const frame = await next()
      assert.deepEqual([frame.buffer === buffer, frame.damage], [true, [damage]])
      assert.ok(guest.contents(entries).equals(back.bytes))
      assert.ok(guest.contents(entries).equals(frame.bytes))
      frame.acknowledge()
    }
    guest.vgem.closeHandle(handle)
    back.close()
  })
})

test('a consumer keeps a host blob that the guest destroys, and does not see the next one in its place', async () => {
  await withConsumer(async (guest, next, client) => {
    const size = guest.fillHeap([1, 2], MODE)
    guest.gpu.setScanoutBlob(0, 2, MODE)
    const window = guest.heap.window.u8
    const drawn = Buffer.from(window.slice(size, 2 * size))
    const frame = await next()
    const { buffer } = frame
    assert.deepEqual([buffer.kind, buffer.byteLength], ['dma-buf', size])
    assert.ok(drawn.equals(frame.bytes))
    buffer.keep()
    const removed = new Promise((resolve) => client.listen({ removed: resolve }))
    guest.gpu.unref(2)
    frame.acknowledge()
    assert.equal(await removed, buffer)
    window.fill(0x55, 0, 2 * size)
    assert.ok(drawn.equals(buffer.bytes))
    buffer.release()
  })
})
