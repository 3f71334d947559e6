import { test } from 'node:test'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import type { InputEvent } from './event-backlog.ts'
import { ABS_X, ABS_Y, EV_ABS, EV_KEY } from './event-codes.ts'
import { InputDevice } from './input.ts'
import { CONFIG_SELECT } from './protocol.ts'

const KEYS = Array.from({ length: 40 }, (_, i) => i + 1)
const AXIS = { min: 0, max: 1000 }

testDevice(
  (host: number[] = []) => ({
    device: new InputDevice(
      {
        name: 'input',
        serial: '1',
        ids: { bus: 6, vendor: 1, product: 1, version: 1 },
        properties: [],
        events: { [EV_KEY]: KEYS, [EV_ABS]: [ABS_X, ABS_Y] },
        axes: { [ABS_X]: AXIS, [ABS_Y]: AXIS },
      },
      (...event) => host.push(...event),
    ),
    host,
  }),
  {
    test,
    traffic(guest, random) {
      const { device, state } = guest
      switch (random.below(6)) {
        case 0:
          for (let i = random.below(6); i > 0; i--)
            guest.request(0, [], [random.pick([8, 8, 8, 8, 12, 4])], { waits: true })
          break
        case 1:
          guest.request(1, [random.bytes(random.from(1, 3) * 8)])
          break
        case 2:
          device.send([
            [EV_ABS, ABS_X, random.below(1000)],
            [EV_ABS, ABS_Y, random.below(1000)],
          ])
          break
        case 3:
          state.writeConfig(CONFIG_SELECT, 2, random.below(0x20))
          break
        default: {
          // Pressed and released at once: keys that are held are released when the device is restored.
          const keys = Array.from({ length: random.from(1, 12) }, () => random.pick(KEYS))
          device.send(
            keys.flatMap((key): InputEvent[] => [
              [EV_KEY, key, 1],
              [EV_KEY, key, 0],
            ]),
          )
        }
      }
    },
    observe: (host) => Uint32Array.from(host),
  },
)
