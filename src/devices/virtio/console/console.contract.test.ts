import { test } from 'node:test'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { ConsoleDevice } from './console.ts'
import { CONTROL_RECEIVEQ, CONTROL_TRANSMITQ, ControlEvent, receiveq } from './protocol.ts'
import { KeepingHost } from './testing/consoles.ts'

const PORTS = 2

function control(port: number, event: number, value: number): Uint8Array {
  return Uint8Array.of(port, port >> 8, port >> 16, port >>> 24, event, 0, value, 0)
}

/** Hosts of the ports: each takes a few bytes at a time, and all of them at the end. */
function makeHosts(): KeepingHost[] {
  return Array.from({ length: PORTS }, () => new KeepingHost())
}

testDevice(
  (host: KeepingHost[] = makeHosts()) => ({
    device: new ConsoleDevice(
      host.map((port, index) => ({ name: `port ${index}`, isConsole: index === 0, host: port })),
      { columns: 80, rows: 25 },
    ),
    host,
  }),
  {
    test,
    traffic(guest, random) {
      const { device, host } = guest
      const port = random.below(PORTS)
      switch (random.below(8)) {
        case 0:
          guest.request(CONTROL_RECEIVEQ, [], [random.pick([4, 12, 100])], { waits: true })
          break
        case 1:
          guest.request(CONTROL_TRANSMITQ, [control(0xffff_ffff, ControlEvent.DEVICE_READY, 1)])
          break
        case 2:
          guest.request(CONTROL_TRANSMITQ, [control(port, ControlEvent.PORT_READY, random.below(4) > 0 ? 1 : 0)])
          break
        case 3:
          guest.request(CONTROL_TRANSMITQ, [control(port, ControlEvent.PORT_OPEN, random.below(4) > 0 ? 1 : 0)])
          break
        case 4:
          guest.request(receiveq(port), [], [random.from(1, 40)], { waits: true })
          break
        case 5:
          device.input(port, random.bytes(random.below(60)))
          break
        case 6:
          host[port].room = random.below(40)
          device.resumeOutput(port)
          break
        default:
          guest.request(receiveq(port) + 1, [random.bytes(random.below(50)), random.bytes(random.below(50))])
      }
    },
    finish(host, device) {
      for (const [index, port] of host.entries()) {
        port.room = Number.POSITIVE_INFINITY
        device.resumeOutput(index)
        port.room = 0
      }
    },
    observe: (host) => host.map(({ bytes }) => Uint8Array.from(bytes)),
  },
)
