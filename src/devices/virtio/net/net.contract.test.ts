import { test } from 'node:test'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { NetDevice } from './net.ts'
import { CtrlClass } from './protocol.ts'
import { HeldPort } from './testing/held-port.ts'
import { BROADCAST, frame, header, STATION, STATION_TEXT } from './testing/net-driver.ts'

const PAIRS = 2
const CONTROL = 2 * PAIRS
const GROUP = [1, 0, 0, 0, 0, 5] as const
const OTHER = [2, 0, 0, 0, 0, 9] as const

/** Commands of the control queue: class, number and data. @virtio 5.1.6.5 */
const COMMANDS: readonly (readonly number[])[] = [
  [CtrlClass.RX, 0, 0],
  [CtrlClass.RX, 0, 1],
  [CtrlClass.RX, 1, 1],
  [CtrlClass.RX, 5, 1],
  [CtrlClass.MAC, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...GROUP],
  [CtrlClass.MAC, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [CtrlClass.MAC, 1, ...OTHER],
  [CtrlClass.MAC, 1, ...STATION],
  [CtrlClass.VLAN, 0, 7, 0],
  [CtrlClass.VLAN, 1, 7, 0],
  [CtrlClass.ANNOUNCE, 0],
  [CtrlClass.MQ, 0, 1, 0],
  [CtrlClass.MQ, 0, 2, 0],
  [CtrlClass.GUEST_OFFLOADS, 0, 2, 0, 0, 0, 0, 0, 0, 0],
  [CtrlClass.GUEST_OFFLOADS, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [99, 0],
]

testDevice(
  (host: HeldPort = new HeldPort({ pairs: PAIRS, offloads: 127, mtu: 1500 })) => ({
    device: new NetDevice(host, { mac: STATION_TEXT }),
    host,
  }),
  {
    test,
    traffic(guest, random) {
      const { host } = guest
      const pair = random.below(PAIRS)
      switch (random.below(6)) {
        case 0: {
          const [kind, number, ...data] = random.pick(COMMANDS)
          guest.request(CONTROL, [[kind, number], data], [1])
          break
        }
        case 1:
          // Each holds any packet below, so that none waits for a second one: that is lost when the queue stops.
          for (let i = random.below(5); i > 0; i--)
            guest.request(2 * pair, [], [random.from(130, 200)], { waits: true })
          break
        case 2:
        case 3: {
          const destination = random.pick([STATION, BROADCAST, GROUP, OTHER])
          host.arrive(frame(random.from(14, 110), random.below(256), destination), header(), pair)
          break
        }
        case 4:
          host.room = random.below(4)
          host.listener?.writable(0)
          host.listener?.writable(1)
          break
        default:
          guest.request(2 * pair + 1, [header(), frame(random.from(14, 300), random.below(256))], [], { waits: true })
      }
    },
    finish(host) {
      host.room = Number.POSITIVE_INFINITY
      for (let pair = 0; pair < PAIRS; pair++) host.listener?.writable(pair)
      host.room = 0
    },
    observe: (host) => host.sent.map(({ pair, header, frame }) => ({ pair, header, frame })),
  },
)
