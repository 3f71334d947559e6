import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../linux/ffi.ts'
import type { Frame } from './frame.ts'
import { FrameClient, type FrameClientOptions } from './frame-client.ts'
import type { FrameServerOptions } from './frame-server.ts'
import { FramesRig } from './testing/frames-rig.ts'

const skip = ffiMissing() ?? false
const WHOLE = { x: 0, y: 0, width: 64, height: 48 }

/** A consumer that takes frames when the test wants them. */
class Taker {
  readonly #frames: AsyncGenerator<Frame, void, undefined>
  constructor(readonly client: FrameClient) {
    this.#frames = client.frames()
  }
  async frame(): Promise<Frame> {
    const { value } = await this.#frames.next()
    assert.ok(value)
    return value
  }
}

function withRig(
  name: string,
  options: FrameServerOptions,
  body: (rig: FramesRig, connect: (options?: FrameClientOptions) => Promise<Taker>) => Promise<void>,
): void {
  test(name, { skip }, async () => {
    const rig = new FramesRig(options)
    const takers: Taker[] = []
    try {
      await body(rig, async (wanted) => {
        const taker = new Taker(await FrameClient.connect(rig.path, { reactor: rig.reactor, ...wanted }))
        takers.push(taker)
        return taker
      })
    } finally {
      for (const { client } of takers) client.close()
      await rig.close()
    }
  })
}

withRig('a consumer sees what a scanout shows where the guest drew it', { memoryFiles: true }, async (rig, connect) => {
  const picture = rig.picture(7, 64, 48)
  rig.draw(picture, 0x11)
  rig.show(picture)
  const taker = await connect()
  const first = await taker.frame()
  assert.equal(first.scanout, 0)
  assert.deepEqual(first.damage, [WHOLE])
  assert.deepEqual(first.source, WHOLE)
  assert.equal(first.buffer.name, 'resource 7')
  assert.equal(first.buffer.kind, 'linear')
  assert.match(first.buffer.reason, /there is no \/dev\/there-is-no-udmabuf/)
  assert.equal(first.picture.fourcc, 0x34325258)
  assert.deepEqual(first.picture.planes, [{ offset: 0, stride: 256 }])
  assert.equal(first.bytes[0], 0x11)
  first.acknowledge()
  rig.draw(picture, 0x22, { x: 8, y: 4, width: 2, height: 3 })
  const second = await taker.frame()
  assert.deepEqual(second.damage, [{ x: 8, y: 4, width: 2, height: 3 }])
  assert.equal(second.sequence, first.sequence + 1)
  assert.equal(second.merged, 0)
  assert.equal(second.bytes[4 * (4 * 64 + 8)], 0x22)
  // The same bytes: what is drawn now is seen now.
  rig.draw(picture, 0x33)
  assert.equal(second.bytes[0], 0x33)
  second.acknowledge()
})
