import type { NetDevice } from '../../src/devices/virtio/net/net.ts'
import { NetDriver, type ReceivedPacket } from '../../src/devices/virtio/net/testing/net-driver.ts'

/** Buffers of each queue, and when there are to be more. */
const BUFFERS = 240
const FEW = 200

/** The guest's side of a device: what comes in is kept, and buffers are given for more. */
export class Guest {
  readonly driver: NetDriver
  /** Buffers given and not come back, of each pair. */
  readonly #given: number[]

  constructor(device: NetDevice, features?: bigint) {
    this.driver = new NetDriver(device, features === undefined ? {} : { features })
    this.#given = new Array(device.queueSizes.length >> 1).fill(0)
  }

  /** Packets that came since, from any queue. */
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

/** Asks again and again, since the other side takes its time; in between, reactor and Node run. */
export async function until<T>(ask: () => T | undefined): Promise<T> {
  for (;;) {
    const answer = ask()
    if (answer !== undefined) return answer
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
