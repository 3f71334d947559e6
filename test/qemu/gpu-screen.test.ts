import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { until } from '../until.ts'
import { scratchFolder } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'
import { ScreenGuest } from './screen-guest.ts'
import { Window } from './window.ts'

/** QEMU's default size of the screen, which differs from that of the device. */
const WIDTH = 1280
const HEIGHT = 800

const folder = scratchFolder()
const skip = qemuMissing ?? false
const noWindow = skip || (await displayMissing())

/** Reason why QEMU has no display that supports this GPU without a GPU of the host; false if it has one. */
async function displayMissing(): Promise<string | false> {
  const displays = await runProgram(qemu().program, ['-display', 'help'])
  return /^dbus$/m.test(displays) ? false : 'QEMU has no display dbus: apt-get install qemu-system-modules-opengl'
}

/** Converts a picture from B, G, R, X to R, G, B. */
function rgb(pixels: Uint8Array): Buffer {
  const bytes = Buffer.alloc((pixels.length / 4) * 3)
  for (let from = 0, to = 0; from < pixels.length; from += 4, to += 3) {
    bytes[to] = pixels[from + 2]
    bytes[to + 1] = pixels[from + 1]
    bytes[to + 2] = pixels[from]
  }
  return bytes
}

interface ScreenDump {
  readonly width: number
  readonly height: number
  /** R, G, B */
  readonly pixels: Buffer
}

/** Returns QEMU's own picture of one of its screens. */
async function dump(guest: ScreenGuest, head = 0): Promise<ScreenDump> {
  const file = path.join(folder, 'screen.ppm')
  await guest.monitor('screendump', { filename: file, device: 'gpu0', head })
  const picture = readFileSync(file)
  const [header, width, height] = /^P6\n(\d+) (\d+)\n255\n/.exec(picture.toString('latin1', 0, 32)) ?? ['']
  return { width: Number(width), height: Number(height), pixels: picture.subarray(header.length) }
}

/** Waits until a screen shows a picture of the guest, or the top left part of it that fits. */
async function shows(guest: ScreenGuest, picture: Uint8Array, head = 0): Promise<ScreenDump> {
  const expected = rgb(picture)
  let shown: ScreenDump = { width: 0, height: 0, pixels: Buffer.alloc(0) }
  let rows = 0
  const shows = async (): Promise<boolean> => {
    shown = await dump(guest, head)
    const { width, height, pixels } = shown
    rows = 0
    for (let y = 0; y < Math.min(height, HEIGHT); y++) {
      const [there, here] = [y * WIDTH * 3, y * width * 3]
      if (pixels.subarray(here, here + width * 3).equals(expected.subarray(there, there + width * 3))) rows++
    }
    return height > 0 && rows === height
  }
  await until(() => `screen ${head} shows the picture: ${rows} of ${shown.height} rows do`, shows)
  return shown
}

test('QEMU shows complete and partial updates of the guest on its own screen  @vhost-user GPU_SET_SOCKET', {
  skip,
}, async () => {
  const picture = randomBytes(WIDTH * HEIGHT * 4)
  const disk = path.join(folder, 'picture.raw')
  writeFileSync(disk, picture)
  const guest = await ScreenGuest.boot({ folder, disk })
  try {
    await guest.run('cat /dev/vda > /dev/fb0')
    const { width, height } = await shows(guest, picture)
    assert.deepEqual([width, height], [WIDTH, HEIGHT])

    // 100 pixels from line 300 on, in the middle of the picture.
    const row = WIDTH * 4
    picture.copy(picture, 300 * row + 800, 0, 400)
    await guest.run(`head -c 400 /dev/vda | dd of=/dev/fb0 bs=400 seek=${(300 * row + 800) / 400} conv=notrunc`)
    await shows(guest, picture)

    // After a pause, QEMU sends another socket, on which nothing was shown yet.
    await guest.monitor('stop')
    await guest.monitor('cont')
    await guest.run('dd if=/dev/zero of=/dev/fb0 bs=400 seek=0 count=1 conv=notrunc')
    picture.fill(0, 0, 400)
    await shows(guest, picture)
  } finally {
    await guest.stop()
  }
})

test("the guest follows QEMU's window, and a second one is a second screen  @vhost-user GPU_SET_SOCKET", {
  skip: noWindow,
}, async () => {
  const picture = randomBytes(WIDTH * HEIGHT * 4)
  const disk = path.join(folder, 'picture.raw')
  writeFileSync(disk, picture)
  const monitor = path.join(folder, 'window.sock')
  const args = ['-qmp', `unix:${monitor},server=on,wait=off`, '-display', 'dbus,p2p=yes']
  const guest = await ScreenGuest.boot({ folder, disk, heads: 2, args })
  const connector = (head: number) => `/sys/class/drm/card0-Virtual-${head + 1}`
  const window = await Window.open(monitor)
  try {
    await guest.run(`grep -q disconnected ${connector(1)}/status`)
    window.resize(0, 1152, 720)
    await guest.eventually(`echo detect > ${connector(0)}/status; head -n 1 ${connector(0)}/modes | grep -qx 1152x720`)
    // The EDID is QEMU's.
    await guest.run(`strings ${connector(0)}/edid | grep -q 'QEMU Monitor'`)

    window.resize(1, 800, 600)
    await guest.eventually(`grep -qx connected ${connector(1)}/status`)
    await guest.eventually(`echo detect > ${connector(1)}/status; head -n 1 ${connector(1)}/modes | grep -qx 800x600`)
    await guest.run('cat /dev/vda > /dev/fb0')
    for (const head of [0, 1]) {
      const { width, height } = await shows(guest, picture, head)
      assert.ok(width >= 640 && height >= 480, `${width}x${height}`)
    }
  } finally {
    window.close()
    await guest.stop()
  }
})
