import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../until.ts'
import { bootGuest, ENGINES, guestMissing } from './guest.ts'

const KEY_A = 30
const KEY_B = 48
/** First scanout of the second GPU. */
const SECOND = 16
const DEVICES = [
  { kind: 'gpu', settings: {} },
  { kind: 'input', settings: { kind: 'keyboard' } },
]
/** Turns the second screen on: the kernel's console is on the first one only. */
const SHOW = 'cd /sys/class/graphics/fb1 && head -n 1 modes > mode'
/** Draws the first rows of the second screen in white, in one write: Linux 6.1 ignores a write of one whole row. */
const DRAW =
  "head -c 65536 /dev/zero | tr '\\000' '\\377' > /tmp/white && dd if=/tmp/white of=/dev/fb1 bs=65536 2> /dev/null"

for (const engine of ENGINES) {
  test(`${engine}: each of two GPUs and two keyboards is addressed`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine, devices: DEVICES })
    const { machine } = guest
    try {
      const shown = await guest.run(SHOW)
      assert.equal(shown.status, 0, shown.stderr)
      await until(
        'both screens are on',
        () => machine.scanouts[0] !== undefined && machine.scanouts[SECOND] !== undefined,
      )
      const drawn = await guest.run(DRAW)
      assert.equal(drawn.status, 0, drawn.stderr)
      await until('the second screen is white at its top', async () => {
        const pixels = await machine.readPixels(SECOND, { x: 0, y: 0, width: 64, height: 1 })
        return pixels?.data.every((byte, i) => i % 4 === 3 || byte === 0xff) ?? false
      })
      const first = await machine.readPixels(0, { x: 0, y: 0, width: 1024, height: 16 })
      assert.ok(first?.data.some((byte, i) => i % 4 !== 3 && byte !== 0xff))

      machine.input({ type: 'resize', scanout: SECOND, width: 1280, height: 720 })
      await until('the new size is the first mode of the second GPU', async () => {
        const { stdout } = await guest.run(
          'cd /sys/class/drm; for c in card*-Virtual-*; do echo detect > $c/status; echo $c $(head -n 1 $c/modes); done',
        )
        return /card0-\S+ 1024x768\n.*card1-\S+ 1280x720/.test(stdout)
      })

      await guest.run(
        'cd /dev/input; for f in event*; do cat <$f >/tmp/$f 2>/dev/null & ' +
          'until [ "$(readlink /proc/$!/fd/0)" = /dev/input/$f ]; do sleep 0.1; done; done',
      )
      for (const pressed of [true, false]) {
        machine.input({ type: 'key', code: KEY_A, pressed })
        machine.input({ type: 'key', device: 'input-1', code: KEY_B, pressed })
        machine.input({ type: 'key', device: 'entropy', code: KEY_A, pressed })
      }
      let lines: string[] = []
      await until(
        () => `both keyboards have their key, but ${lines.join('; ')}`,
        async () => {
          // Codes of the key events, by device: the last 8 bytes of an event are type, code and value.
          const { stdout } = await guest.run(
            'for f in /tmp/event*; do hexdump -v -e \'1/2 "%d "\' $f | tr -s " " | sed "s/^/$(basename $f) /"; echo; done',
          )
          lines = stdout.split('\n').filter((line) => line.split(' ').length > 2)
          return lines.length === 2
        },
      )
      const has = (line: string, code: number): boolean => line.includes(` 1 ${code} 1 0 `)
      assert.ok(lines.some((line) => has(line, KEY_A) && !has(line, KEY_B)))
      assert.ok(lines.some((line) => has(line, KEY_B) && !has(line, KEY_A)))
    } finally {
      await guest.stop()
    }
  })
}

test('v86: more devices than slots are further functions of the slots  @pci 6.2.1', {
  skip: guestMissing('v86') ?? false,
}, async () => {
  const guest = await bootGuest({ devices: Array.from({ length: 6 }, () => ({ kind: 'entropy', settings: {} })) })
  try {
    const { devices } = await guest.machine.inspect()
    assert.ok(devices.length > 8)
    for (const { status } of devices) assert.ok(status.includes('DRIVER_OK'))
    const { stdout } = await guest.run('cd /sys/bus/pci/devices; cat 0000:00:*.1/device; ls /sys/bus/virtio/devices')
    assert.match(stdout, /^0x1044\n/, 'function 1 of slot 8 is an entropy device')
    assert.equal(stdout.match(/virtio\d+/g)?.length, devices.length)
    // The driver numbers the devices in the order of slots and functions: this one is function 1 of slot 9.
    const read = await guest.run(
      'cd /sys/class/misc/hw_random; echo virtio_rng.1 > rng_current && head -c 64 /dev/hwrng | wc -c',
    )
    assert.equal(read.stdout, '64\n', read.stderr)
  } finally {
    await guest.stop()
  }
})
