import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { decode } from 'fast-png'
import { vfioUserArguments } from '../../src/engines/qemu/arguments.ts'
import { VFIO_USER } from '../../src/engines/qemu/front-ends.ts'
import type { Rect } from '../../src/services/rect.ts'
import type { Frame } from '../../src/sharing/frames/frame.ts'
import { FrameClient } from '../../src/sharing/frames/frame-client.ts'
import { BARE_SCREEN } from '../guest/bare-screen.ts'
import { until } from '../until.ts'
import { MAIN, scratchFolder, startDevice } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'

const [WIDTH, HEIGHT] = [1024, 768]
const XR24 = 0x34325258
const BYTES = WIDTH * HEIGHT * 4
const folder = scratchFolder()
const run = promisify(execFile)

/** Reason why the tests cannot run; false if they can. */
function missing(): string | false {
  if (qemuMissing !== undefined) return qemuMissing
  return qemu().devices.has(VFIO_USER) ? false : `QEMU has no ${VFIO_USER}`
}

/** Receives frames until the device exits. */
async function takeAll(client: FrameClient, take: (frame: Frame) => void): Promise<void> {
  for await (const frame of client.frames()) {
    take(frame)
    frame.acknowledge()
  }
}

test('a program of the host reads the pages of a guest screen in place', {
  skip: missing(),
}, async () => {
  const [socket, exported] = ['gpu.sock', 'frames.sock'].map((name) => path.join(folder, name))
  const gpu = await startDevice([
    ...['gpu', '--transport=vfio-user', `--socket-path=${socket}`, `--export=${exported}`, '--export-memory'],
  ])
  const guest = await bootPortGuest({ folder, arguments: vfioUserArguments(socket) })
  const client = await FrameClient.connect(exported)
  try {
    await guest.run(`${BARE_SCREEN}; head -c 3145728 /dev/urandom > /tmp/picture; cat /tmp/picture > /dev/fb0`)
    const sum = (await guest.run('md5sum < /tmp/picture')).split(' ')[0]
    await client.ready
    const damages: (readonly Rect[])[] = []
    let seen = ''
    const taking = takeAll(client, ({ damage, bytes }) => {
      damages.push(damage)
      seen = createHash('md5').update(bytes.subarray(0, BYTES)).digest('hex')
    })
    await until('the frame holds the picture', () => seen === sum)

    const output = path.join(folder, 'screen.png')
    const dumped = await run(process.execPath, [MAIN, 'frames', exported, 'dump', '--output', output])
    assert.equal(dumped.stderr, '')
    const { data } = decode(readFileSync(output))
    const scanout = client.scanouts.get(0)
    assert.ok(scanout?.buffer && scanout.picture)
    assert.deepEqual(scanout.source, { x: 0, y: 0, width: WIDTH, height: HEIGHT })
    assert.deepEqual([scanout.picture.fourcc, scanout.picture.planes], [XR24, [{ offset: 0, stride: WIDTH * 4 }]])
    const { bytes } = scanout.buffer
    for (let pixel = 0; pixel < WIDTH * HEIGHT; pixel++) {
      const [blue, green, red] = bytes.subarray(4 * pixel, 4 * pixel + 3)
      assert.deepEqual([...data.subarray(3 * pixel, 3 * pixel + 3)], [red, green, blue], `pixel ${pixel}`)
    }

    // Later drawing is visible without a message; the frame only reports the damage.
    const before = damages.length
    await guest.run('dd if=/dev/zero of=/dev/fb0 bs=8192 seek=50 count=1 conv=notrunc 2>/dev/null')
    // Some kernels flush the whole blob after any change.
    await until('the frame tells of the change', () =>
      damages.slice(before).some(([{ y, height }]) => y <= 100 && y + height >= 102),
    )
    assert.ok(bytes.subarray(100 * 4096, 102 * 4096).every((byte) => byte === 0))

    const { stdout } = await run(process.execPath, [MAIN, 'frames', exported, 'list', '--json'])
    const listed = JSON.parse(stdout)
    assert.equal(listed.scanouts[0].path, listed.buffers[0].kind)
    assert.equal(listed.scanouts[0].buffer, listed.buffers[0].id)

    // The device exits, and programs that watch it are notified.
    assert.equal(await gpu.stop(), 0)
    await taking
  } finally {
    client.close()
    await guest.kill()
    await gpu.stop()
  }
})
