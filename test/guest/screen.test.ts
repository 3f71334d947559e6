import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { decode } from 'fast-png'
import { saveScreenshot } from '../../src/cli/screenshot.ts'
import { bootGuest, type Guest, kitMissing } from './guest.ts'

const skip = kitMissing() ?? false
const WIDTH = 1024
const HEIGHT = 768

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-screen-'))
after(() => rmSync(folder, { recursive: true }))

/** Random pixels, so that a row, a column or a byte in the wrong place shows. */
const picture = randomBytes(WIDTH * HEIGHT * 4)
const pictureFile = path.join(folder, 'picture.raw')
writeFileSync(pictureFile, picture)

/** The screen as PNG after the guest wrote the picture to its framebuffer, as R, G, B. */
async function drawAndShoot(guest: Guest): Promise<ReturnType<typeof decode>> {
  const { width, height } = guest.machine.scanouts[0] ?? { width: 0, height: 0 }
  assert.deepEqual([width, height], [WIDTH, HEIGHT])
  const drawn = await guest.run('cat /dev/vda > /dev/fb0')
  assert.equal(drawn.status, 0, drawn.stderr)
  const file = path.join(folder, 'shot.png')
  await saveScreenshot(guest.machine, file)
  return decode(readFileSync(file))
}

function assertIsPicture(image: ReturnType<typeof decode>): void {
  assert.deepEqual([image.width, image.height, image.channels], [WIDTH, HEIGHT, 3])
  let wrong = 0
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    const same =
      image.data[3 * i] === picture[4 * i + 2] &&
      image.data[3 * i + 1] === picture[4 * i + 1] &&
      image.data[3 * i + 2] === picture[4 * i]
    if (!same) wrong++
  }
  assert.equal(wrong, 0, `${wrong} of ${WIDTH * HEIGHT} pixels differ`)
}

for (const blob of [true, false]) {
  test(`the screen's pixels are what the guest drew, ${blob ? 'read in place from a guest blob' : 'through a 2D resource'}  @virtio 5.7.6.7`, {
    skip,
  }, async () => {
    const guest = await bootGuest({ blob, disks: [{ path: pictureFile, readOnly: true }] })
    try {
      assertIsPicture(await drawAndShoot(guest))
      const inspection = await guest.machine.inspect()
      const gpu = inspection.devices.find((device) => device.id === 16)
      assert.equal(gpu?.negotiated.includes('VIRTIO_GPU_F_RESOURCE_BLOB'), blob)
    } finally {
      await guest.stop()
    }
  })
}

test('only what changed moves: a small change is small damage', { skip }, async () => {
  const guest = await bootGuest({})
  try {
    await guest.run('head -c 3145728 /dev/zero > /dev/fb0')
    await sleep(1500)
    const rects: { y: number; height: number }[] = []
    guest.machine.listen({ damage: (_scanout, rect) => rects.push(rect) })
    // One row of 1,024 pixels at line 300.
    await guest.run(`head -c 4096 /dev/urandom | dd of=/dev/fb0 bs=4096 seek=300 conv=notrunc 2>/dev/null`)
    await sleep(1500)
    assert.ok(rects.length > 0, 'the change was not shown')
    for (const rect of rects) {
      assert.ok(rect.height <= 2 && rect.y >= 299 && rect.y <= 300, `damage ${JSON.stringify(rect)}`)
    }
  } finally {
    await guest.stop()
  }
})

test('another size asked for by the viewer reaches the guest', { skip }, async () => {
  const guest = await bootGuest({})
  try {
    guest.machine.resize(0, 1280, 720)
    let modes = ''
    for (let i = 0; i < 40 && !modes.startsWith('1280x720'); i++) {
      await sleep(250)
      modes = (await guest.run('cat /sys/class/drm/card0-Virtual-1/modes')).stdout
    }
    assert.equal(modes.split('\n')[0], '1280x720')
    const edid = await guest.run('hexdump -v -e \'1/1 "%02x"\' /sys/class/drm/card0-Virtual-1/edid')
    assert.ok(edid.stdout.startsWith('00ffffffffffff00'), edid.stdout.slice(0, 32))
  } finally {
    await guest.stop()
  }
})
