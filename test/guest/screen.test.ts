import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { decode } from 'fast-png'
import { saveScreenshot } from '../../src/cli/run/screenshot.ts'
import type { GpuInspection } from '../../src/devices/virtio/gpu/gpu.ts'
import type { ScreenInspection } from '../../src/engines/qemu/mapped-screens.ts'
import type { Rect } from '../../src/machine/machine.ts'
import { until } from '../until.ts'
import { BARE_SCREEN } from './bare-screen.ts'
import { ALL_ENGINES, bootGuest, type Guest, guestMissing } from './guest.ts'

const WIDTH = 1024
const HEIGHT = 768

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-screen-'))
after(() => rmSync(folder, { recursive: true }))

/** Random pixels, so that a misplaced row, column or byte is detected. */
const picture = randomBytes(WIDTH * HEIGHT * 4)
const pictureFile = path.join(folder, 'picture.raw')
writeFileSync(pictureFile, picture)

/** Writes the picture to the guest's framebuffer, and waits for a PNG of the screen that shows it. */
async function drawAndShoot(guest: Guest): Promise<void> {
  const { width, height } = guest.machine.scanouts[0] ?? { width: 0, height: 0 }
  assert.deepEqual([width, height], [WIDTH, HEIGHT])
  const drawn = await guest.run(`${BARE_SCREEN}; cat /dev/vda > /dev/fb0`)
  assert.equal(drawn.status, 0, drawn.stderr)
  const file = path.join(folder, 'shot.png')
  let image: ReturnType<typeof decode> | undefined
  await until(
    () => `every pixel is the guest's, but ${image && wrongPixels(image)} are not`,
    async () => {
      await saveScreenshot(guest.machine, file)
      image = decode(readFileSync(file))
      return wrongPixels(image) === 0
    },
  )
}

/** Returns the number of pixels that differ from the picture. The order in a PNG is R, G, B. */
function wrongPixels(image: ReturnType<typeof decode>): number {
  assert.deepEqual([image.width, image.height, image.channels], [WIDTH, HEIGHT, 3])
  let wrong = 0
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    const same =
      image.data[3 * i] === picture[4 * i + 2] &&
      image.data[3 * i + 1] === picture[4 * i + 1] &&
      image.data[3 * i + 2] === picture[4 * i]
    if (!same) wrong++
  }
  return wrong
}

for (const engine of ALL_ENGINES) {
  for (const blob of [true, false]) {
    test(`${engine}: the screen has the pixels that the guest drew, ${blob ? 'read in place from a guest blob' : 'through a 2D resource'}  @virtio 5.7.6.7`, {
      skip: guestMissing(engine) ?? false,
    }, async () => {
      const guest = await bootGuest({ engine, blob, disks: [{ path: pictureFile, readOnly: true }] })
      try {
        await drawAndShoot(guest)
        const inspection = await guest.machine.inspect()
        const gpu = inspection.devices.find((device) => device.id === 16)
        assert.equal(gpu?.negotiated.includes('RESOURCE_BLOB'), blob)
        const state = gpu?.state as (GpuInspection & { readonly page?: readonly ScreenInspection[] }) | undefined
        // The memory of a guest in v86 is not shared with other processes.
        const paths = !blob ? ['copy'] : engine === 'v86' ? ['scatter'] : ['linear', 'dma-buf']
        assert.ok(paths.includes(String(state?.scanouts[0].path)), state?.scanouts[0].path ?? 'off')
        assert.ok(state?.scanouts[0].lastDamage)
        if (engine === 'v86') return
        // In QEMU the page maps the buffers of the GPU process, which copies nothing.
        assert.ok(state.page?.[0].inPlace, state.page?.[0].reason)
        assert.ok(state.page[0].bytesRead >= WIDTH * HEIGHT * 4)
        assert.equal(state.scanouts[0].bytesRead, 0)
      } finally {
        await guest.stop()
      }
    })
  }
}

// In v86 alone: Linux 6.12, which the guest in QEMU has, flushes the whole screen whatever was drawn on it.
test('a small change of the screen is small damage  @virtio 5.7.6.7', {
  skip: guestMissing('v86') ?? false,
}, async () => {
  const guest = await bootGuest({})
  try {
    const damage: Rect[] = []
    guest.machine.listen({ damage: (_scanout, rect) => damage.push(rect) })
    /** Draws half a row, 512 pixels. (For a whole one, Linux 6.1 takes it that nothing changed.) */
    const draw = async (line: number): Promise<Rect> => {
      await guest.run(`head -c 2048 /dev/urandom | dd of=/dev/fb0 bs=2048 seek=${2 * line} conv=notrunc 2>/dev/null`)
      await until(`damage of line ${line}`, () => damage.some(({ y, height }) => y <= line && line < y + height))
      return { x: 0, y: line, width: 512, height: 1 }
    }
    const isAlone = (rect: Rect): boolean => damage.every((other) => isDeepStrictEqual(other, rect))
    await guest.run(BARE_SCREEN)
    // What the console drew may still be on its way: it comes before a line that comes alone.
    let line = 100
    do damage.length = 0
    while (!isAlone(await draw(line++)))
    damage.length = 0
    const drawn = await draw(600)
    for (const rect of damage) assert.deepEqual(rect, drawn)
  } finally {
    await guest.stop()
  }
})

for (const engine of ALL_ENGINES) {
  test(`${engine}: a size that the viewer requests reaches the guest  @virtio 5.7.6.3`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    const connector = '/sys/class/drm/card0-Virtual-1'
    try {
      guest.machine.input({ type: 'resize', scanout: 0, width: 1280, height: 720 })
      // The console does not use modes larger than its framebuffer, but all modes are listed in sysfs.
      await until('the new size is the first mode', async () => {
        const { stdout } = await guest.run(`echo detect > ${connector}/status; cat ${connector}/modes`)
        return stdout.startsWith('1280x720\n')
      })
      const { stdout } = await guest.run(`hexdump -v -e '1/1 "%02x"' ${connector}/edid`)
      const edid = Buffer.from(stdout, 'hex')
      assert.equal(edid.toString('hex', 0, 8), '00ffffffffffff00')
      // First detailed timing: the low eight bits of the active pixels and lines, and their high four.
      const preferred = [edid[56] | ((edid[58] & 0xf0) << 4), edid[59] | ((edid[61] & 0xf0) << 4)]
      assert.deepEqual(preferred, [1280, 720])
      // The guest switched its screen off and on for it: its next drawing is visible.
      await guest.run('printf "\\033[?25l\\033[?25h" > /dev/tty1')
      await until('the screen is on', () => guest.machine.scanouts[0] !== undefined)
    } finally {
      await guest.stop()
    }
  })
}
