import type { NetDevice } from '../../src/devices/virtio/net/net.ts'
import { NetDriver, type ReceivedPacket } from '../../src/devices/virtio/net/testing/net-driver.ts'

/** Buffers of each queue, and the number below which they are refilled. */
const BUFFERS = 240
const FEW = 200

/** Driver of a network device: stores received packets, and refills its buffers. */
export class Guest {
  readonly driver: NetDriver
  /** Buffers at the device, for each queue pair. */
  readonly #given: number[]

  constructor(device: NetDevice, features?: bigint) {
    this.driver = new NetDriver(device, features === undefined ? {} : { features })
    this.#given = new Array(device.queueSizes.length >> 1).fill(0)
  }

  /** Received packets of all queues. */
  take(): ReceivedPacket[] {
    return this.#given.flatMap((_, pair) => {
      const packets = this.driver.received(pair)
      for (const { buffers } of packets) this.#given[pair] -= buffers.length
      if (this.#given[pair] < FEW) {
        this.driver.post(new Array(BUFFERS - this.#given[pair]).fill(1536), pair)
        this.#given[pair] = BUFFERS
      }
      return packets
    })
  }
}

/** Repeats an action until it succeeds; the reactor and Node's event loop run in between. */
export async function until<T>(ask: () => T | undefined): Promise<T> {
  for (;;) {
    const answer = ask()
    if (answer !== undefined) return answer
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
