import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ffiMissing } from '../src/host/linux/ffi.ts'
import { FramesRig } from '../src/sharing/frames/testing/frames-rig.ts'

const EXAMPLE = fileURLToPath(new URL('./frame-consumer.js', import.meta.url))

test('a consumer prints what a guest draws', { skip: ffiMissing() ?? false }, async () => {
  const rig = new FramesRig({ memoryFiles: true })
  const picture = rig.picture(1, 64, 48)
  rig.draw(picture, 7)
  rig.show(picture)
  const consumer = spawn(process.execPath, [EXAMPLE, rig.path], { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  const line = async (text: string): Promise<void> => {
    while (!printed.includes(`${text}\n`)) printed += (await once(consumer.stdout, 'data'))[0]
  }
  await line('screen 0 frame 1: 64x48 at 0,0 from 7 7 7 7')
  assert.match(printed, /^screen 0: linear, .*there is no \/dev\/there-is-no-udmabuf/)
  rig.draw(picture, 9, { x: 8, y: 4, width: 2, height: 3 })
  await line('screen 0 frame 2: 2x3 at 8,4 from 9 9 9 9')
  const ended = once(consumer, 'close')
  await rig.close()
  // The server is gone: so are the frames, and there is nothing to wait for.
  assert.deepEqual(await ended, [0, null])
})
