import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { until } from '../until.ts'
import { ALL_ENGINES, bootGuest, type Engine, guestMissing } from './guest.ts'

const EV_KEY = 1
const EV_REL = 2
const EV_ABS = 3
const KEY_A = 30
const BTN_LEFT = 0x110
const REL_WHEEL = 8

/**
 * Bytes of a time in `struct input_event`, which the width of the kernel decides; u16 type, u16 code, s32 value follow.
 */
const TIME_BYTES = { v86: 8, qemu: 16, 'qemu over vfio-user': 16 } as const

interface InputEvent {
  readonly type: number
  readonly code: number
  readonly value: number
}

function events(hex: string, engine: Engine): InputEvent[] {
  const bytes = Buffer.from(hex.replaceAll(/\s/g, ''), 'hex')
  const time = TIME_BYTES[engine]
  return Array.from({ length: bytes.length / (time + 8) }, (_, i) => ({
    type: bytes.readUInt16LE((time + 8) * i + time),
    code: bytes.readUInt16LE((time + 8) * i + time + 2),
    value: bytes.readInt32LE((time + 8) * i + time + 4),
  }))
}

for (const engine of ALL_ENGINES) {
  test(`${engine}: keys, clicks and wheel steps arrive as evdev events`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    try {
      // All input devices are recorded from before the first event, so that an event on the wrong one is detected.
      await guest.run(
        'cd /dev/input; for f in event*; do cat <$f >/tmp/$f 2>/dev/null & ' +
          'until [ "$(readlink /proc/$!/fd/0)" = /dev/input/$f ]; do sleep 0.1; done; done',
      )
      const { machine } = guest
      machine.input({ type: 'key', code: KEY_A, pressed: true })
      machine.input({ type: 'key', code: KEY_A, pressed: false })
      machine.input({ type: 'pointer', x: 0.5, y: 0.25 })
      machine.input({ type: 'button', code: BTN_LEFT, pressed: true })
      machine.input({ type: 'button', code: BTN_LEFT, pressed: false })
      machine.input({ type: 'wheel', vertical: -1, horizontal: 0 })
      let all: { readonly name: string | undefined; readonly list: InputEvent[] }[] = []
      const has = (wanted: Partial<InputEvent>): boolean =>
        all.some(({ list }) => list.some((event) => isDeepStrictEqual({ ...event, ...wanted }, event)))
      await until(
        () => `all arrive, but what did is ${JSON.stringify(all)}`,
        async () => {
          const recorded = await guest.run(
            'cd /dev/input; for f in event*; do ' +
              'echo "$(cat /sys/class/input/$f/device/name)|$(hexdump -v -e \'1/1 "%02x"\' /tmp/$f)"; done',
          )
          assert.equal(recorded.status, 0, recorded.stderr)
          all = recorded.stdout
            .trim()
            .split('\n')
            .map((line) => line.split('|'))
            .map(([name, hex]) => ({ name, list: events(hex, engine) }))
          return [
            { type: EV_KEY, code: KEY_A, value: 0 },
            { type: EV_KEY, code: BTN_LEFT, value: 0 },
            { type: EV_REL, code: REL_WHEEL },
          ].every(has)
        },
      )
      const keysOf = (code: number): number[][] => {
        const device = all.filter(({ list }) => list.some((event) => event.type === EV_KEY && event.code === code))
        assert.equal(device.length, 1, `key ${code} arrived on ${device.length} devices`)
        return device.flatMap(({ list }) =>
          list.filter(({ type }) => type === EV_KEY).map((event) => [event.code, event.value]),
        )
      }
      assert.deepEqual(keysOf(KEY_A), [
        [KEY_A, 1],
        [KEY_A, 0],
      ])
      assert.deepEqual(keysOf(BTN_LEFT), [
        [BTN_LEFT, 1],
        [BTN_LEFT, 0],
      ])
      const rest = all.flatMap(({ list }) => list)
      const absolute = rest.filter(({ type }) => type === EV_ABS)
      assert.ok(
        absolute.some(({ code, value }) => code === 0 && value > 16000 && value < 16800),
        'x in the middle',
      )
      assert.ok(
        absolute.some(({ code, value }) => code === 1 && value > 7900 && value < 8500),
        'y at a quarter',
      )
      assert.ok(
        rest.some(({ type, code, value }) => type === EV_REL && code === REL_WHEEL && value === -1),
        'a wheel step',
      )
    } finally {
      await guest.stop()
    }
  })
}
