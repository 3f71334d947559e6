import { BlkType } from '../src/devices/virtio/block/protocol.ts'
import type { EventFd } from '../src/host/linux/event-fd.ts'
import { systemCall } from '../src/host/linux/system-call.ts'
import { UnixStream } from '../src/host/linux/unix-stream.ts'
import { RemoteDriver } from '../src/transport/vhost-user/testing/remote-driver.ts'
import { Feature, featureSet } from '../src/virtio/feature.ts'
import type { Bench, Variant } from './bench.ts'
import { OUTBOARD, Place, processorSeconds, type RunningServer, storageDaemon, withServer } from './block-server.ts'
import type { Figures } from './figures.ts'

/** Microseconds that the driver works between an answer and its next request. */
const THINK_TIMES = [0, 20, 100, 1000]
const SERVERS = [storageDaemon('io_uring'), OUTBOARD]

const QUEUE_SIZE = 128
const HEADER_BYTES = 16
const BLOCK = 4096
const SECTORS = BLOCK / 512
/** Blocks of the image that are read, in turn. */
const BLOCKS = 4096
/** The processor time of a process is counted in hundredths of a second: long enough for two digits. */
const WARM_UP_MS = 600
const MEASURE_MS = 1500
const TIMEOUT_MS = 10_000
const POLLIN = 1

const poll = systemCall<[descriptors: Int32Array, count: number, timeout: number]>(
  'int poll(void *descriptors, uint64_t count, int timeout)',
)

/** A driver that reads one block after the other, and works a while in between, as a program in a guest does. */
class ThinkingDriver {
  readonly #remote: RemoteDriver
  readonly #header: number
  readonly #data: number
  #block = 0

  private constructor(
    remote: RemoteDriver,
    private readonly thinkMs: number,
  ) {
    this.#remote = remote
    const { allocator, region } = remote.guest
    this.#header = allocator.allocate(HEADER_BYTES)
    this.#data = allocator.allocate(BLOCK + 1)
    region.u8.fill(0, this.#header, this.#header + HEADER_BYTES)
    region.u32[this.#header / 4] = BlkType.IN
  }

  static async start(socket: string, thinkMicroseconds: number): Promise<ThinkingDriver> {
    const options = { queues: 1, queueSize: QUEUE_SIZE, features: featureSet(Feature.EVENT_IDX) }
    return new ThinkingDriver(await RemoteDriver.start(UnixStream.connect(socket), options), thinkMicroseconds / 1000)
  }

  /** Reads for so long. @param think whether it works in between @returns requests */
  run(milliseconds: number, think = true): number {
    const thinkMs = think ? this.thinkMs : 0
    const end = performance.now() + milliseconds
    let requests = 0
    for (let now = performance.now(); now < end; requests++) {
      this.#read()
      const until = performance.now() + thinkMs
      do now = performance.now()
      while (now < until)
    }
    return requests
  }

  close(): void {
    this.#remote.close()
  }

  #read(): void {
    const { queues, kicks, calls, region } = this.#remote.guest
    const [queue] = queues
    this.#block = (this.#block + 1) % BLOCKS
    region.u32[this.#header / 4 + 2] = this.#block * SECTORS
    const header = { address: this.#header, length: HEADER_BYTES }
    if (queue.add([header], [{ address: this.#data, length: BLOCK + 1 }]) < 0) throw new Error('the queue is full')
    if (queue.kick()) kicks[0].signal()
    while (!queue.collect()) if (queue.enableInterrupts()) sleepUntil(calls[0])
    if (region.u8[this.#data + BLOCK] !== 0) throw new Error('a read failed')
  }
}

function sleepUntil(event: EventFd): void {
  const descriptors = Int32Array.of(event.descriptor.fd, POLLIN)
  if (poll('waiting for an answer', descriptors, 1, TIMEOUT_MS) === 0) throw new Error('the disk does not answer')
  event.drain()
}

async function measure({ child, socket }: RunningServer, think: number): Promise<Figures> {
  const driver = await ThinkingDriver.start(socket, think)
  try {
    // What the server runs is compiled then, and its polling pauses for the shortest time.
    driver.run(WARM_UP_MS, false)
    const before = processorSeconds(child)
    const began = performance.now()
    const requests = driver.run(MEASURE_MS)
    const seconds = (performance.now() - began) / 1000
    return { requests: requests / seconds, cpu: ((processorSeconds(child) - before) / requests) * 1e6 }
  } finally {
    driver.close()
  }
}

export const thinkBench: Bench = {
  name: 'think',
  summary: 'a disk over vhost-user and a driver that works between its requests, beside qemu-storage-daemon’s',
  columns: {
    requests: 'requests a second',
    cpu: 'microseconds of the server’s processor time a request',
  },
  prepare(random) {
    const place = new Place(THINK_TIMES.length * SERVERS.length, random)
    return THINK_TIMES.flatMap((think) =>
      SERVERS.map(
        (server): Variant => ({
          name: server.name,
          group: `4 KiB read, depth 1, ${think} µs between requests`,
          measure: () => withServer(place, server, (running) => measure(running, think)),
          async close() {
            place.leave()
          },
        }),
      ),
    )
  },
}
