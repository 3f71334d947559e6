import { test } from 'node:test'
import type { RandomSource } from '../../../services/random-source.ts'
import type { Random } from '../../../virtio/testing/contract/random.ts'
import { testDevice } from '../../../virtio/testing/contract/test-device.ts'
import { TRAFFIC_PAGES } from '../../../virtio/testing/contract/test-guest.ts'
import { GpuDevice } from './gpu.ts'
import { GpuQueue, GpuCommand as T } from './protocol.ts'
import { RecordingDisplay } from './testing/recording-display.ts'

const SCANOUTS = 2
const PAGE = 4096
/** Room for the largest response. */
const ROOM = 1056

interface Host {
  readonly display: RecordingDisplay
  readonly random: RandomSource
}

function makeHost(): Host {
  let count = 0
  return { display: new RecordingDisplay(), random: { fill: (bytes) => bytes.fill(count++) } }
}

/** Words of a request after its header, and its type: ids 1 and 2 are images, 3 is a cursor, 4 and 5 are blobs. */
function command(random: Random): readonly [type: number, ...words: number[]] {
  const image = random.from(1, 3)
  const blob = random.from(4, 5)
  const any = random.from(1, 5)
  const scanout = random.below(SCANOUTS)
  const [x, y, width, height] = [random.below(4), random.below(4), random.from(1, 6), random.from(1, 6)]
  switch (random.below(13)) {
    case 0:
      return image === 3
        ? [T.RESOURCE_CREATE_2D, 3, 1, 64, 64]
        : [T.RESOURCE_CREATE_2D, image, random.pick([1, 2, 3, 67]), random.from(10, 16), 10]
    case 1:
      return [T.RESOURCE_CREATE_BLOB, blob, 1, random.pick([0, 1, 2]), 2, 0, 0, 400, 0, ...pages(random, 2)]
    case 2:
      return [T.RESOURCE_ATTACH_BACKING, any, 1, ...pages(random, 1)]
    case 3:
      return [random.pick([T.RESOURCE_DETACH_BACKING, T.RESOURCE_UNREF, T.RESOURCE_ASSIGN_UUID]), any, 0]
    case 4:
      return [T.SET_SCANOUT, x, y, width, height, scanout, random.oneIn(5) ? 0 : image]
    case 5: {
      const planes = [random.from(32, 40), 0, 0, 0, random.below(40), 0, 0, 0]
      const head = [0, 0, 6, 6, scanout, random.oneIn(5) ? 0 : blob, 8, 8]
      return [T.SET_SCANOUT_BLOB, ...head, random.pick([1, 2, 67]), 0, ...planes]
    }
    case 6:
    case 7:
    case 8:
      return [T.TRANSFER_TO_HOST_2D, x, y, width, height, random.below(100), 0, image, 0]
    case 9:
      return [T.RESOURCE_FLUSH, x, y, width, height, any, 0]
    case 10:
      return [T.GET_DISPLAY_INFO]
    case 11:
      return [T.GET_EDID, scanout, 0]
    default:
      return [T.RESOURCE_ATTACH_BACKING, image, 1, ...pages(random, 1)]
  }
}

/** Entries of random pages. */
function pages(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => [TRAFFIC_PAGES.address + PAGE * random.below(8), 0, PAGE, 0]).flat()
}

function cursorCommand(random: Random): readonly [type: number, ...words: number[]] {
  const place = [random.below(SCANOUTS), random.below(100), random.below(100), 0]
  return random.oneIn(2)
    ? [T.UPDATE_CURSOR, ...place, random.pick([0, 3, 3]), random.below(70), random.below(70), 0]
    : [T.MOVE_CURSOR, ...place, 0, 0, 0, 0]
}

function request([type, ...words]: readonly [type: number, ...words: number[]]): Uint8Array {
  return new Uint8Array(Uint32Array.from([type, 0, 0, 0, 0, 0, ...words]).buffer)
}

testDevice(
  (host: Host = makeHost()) => ({
    device: new GpuDevice(host.display, {
      scanouts: [
        { width: 640, height: 480 },
        { width: 800, height: 600 },
      ],
      maxHostBytes: 256 << 10,
      random: host.random,
    }),
    host,
  }),
  {
    test,
    traffic(guest, random) {
      guest.poke(TRAFFIC_PAGES.address + random.below(8 * PAGE), random.bytes(512))
      for (let i = 0; i < 4; i++) guest.request(GpuQueue.CONTROL, [request(command(random))], [ROOM])
      if (random.oneIn(3)) guest.request(GpuQueue.CURSOR, [request(cursorCommand(random))])
    },
    observe: ({ display }) =>
      Array.from({ length: SCANOUTS }, (_, i) => ({
        pixels: Uint32Array.from(display.pixels(i)),
        cursor: display.cursors[i]?.data ?? null,
        x: display.positions[i]?.x ?? 0,
        y: display.positions[i]?.y ?? 0,
      })),
  },
)
