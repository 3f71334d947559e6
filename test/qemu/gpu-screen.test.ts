import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { scratchFolder } from './device-program.ts'
import { qemuMissing } from './guest.ts'
import { ScreenGuest } from './screen-guest.ts'

/** What QEMU's screen is unless it is told otherwise, and another size than the device has by itself. */
const WIDTH = 1280
const HEIGHT = 800

const folder = scratchFolder()
const skip = qemuMissing ?? false

/** R, G, B of a picture in the guest's B, G, R, X. */
function rgb(pixels: Uint8Array): Buffer {
  const bytes = Buffer.alloc((pixels.length / 4) * 3)
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    bytes[to] = pixels[from + 2]
    bytes[to + 1] = pixels[from + 1]
    bytes[to + 2] = pixels[from]
  }
  return bytes
}

/** What QEMU itself shows, which takes a while to be what the guest drew. */
async function shows(guest: ScreenGuest, expected: Uint8Array): Promise<void> {
  const file = path.join(folder, 'screen.ppm')
  const header = `P6\n${WIDTH} ${HEIGHT}\n255\n`
  let wrong = 0
  for (let tries = 0; tries < 120; tries++) {
    await guest.monitor('screendump', { filename: file })
    const picture = readFileSync(file)
    assert.equal(picture.toString('latin1', 0, header.length), header)
    const pixels = picture.subarray(header.length)
    if (pixels.equals(expected)) return
    wrong = expected.reduce((sum, byte, i) => sum + (byte === pixels[i] ? 0 : 1), 0)
    await sleep(250)
  }
  assert.fail(`${wrong} of ${expected.length} bytes differ`)
}

test('QEMU shows on its own screen what the guest draws, whole and in part  @vhost-user GPU_SET_SOCKET', {
  skip,
}, async () => {
  const picture = randomBytes(WIDTH * HEIGHT * 4)
  const disk = path.join(folder, 'picture.raw')
  writeFileSync(disk, picture)
  const guest = await ScreenGuest.boot({ folder, disk })
  try {
    await guest.run('cat /dev/vda > /dev/fb0')
    await shows(guest, rgb(picture))

    // 100 pixels from line 300 on, in the middle of the picture.
    const row = WIDTH * 4
    picture.copy(picture, 300 * row + 800, 0, 400)
    await guest.run(`head -c 400 /dev/vda | dd of=/dev/fb0 bs=400 seek=${(300 * row + 800) / 400} conv=notrunc`)
    await shows(guest, rgb(picture))

    // Paused and resumed, QEMU hands over another socket, on which nothing was shown yet.
    await guest.monitor('stop')
    await guest.monitor('cont')
    await guest.run('dd if=/dev/zero of=/dev/fb0 bs=400 seek=0 count=1 conv=notrunc')
    picture.fill(0, 0, 400)
    await shows(guest, rgb(picture))
  } finally {
    await guest.stop()
  }
})
