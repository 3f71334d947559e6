import type { RandomSource } from '../../../services/random-source.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { stateShape } from '../../../snapshot/shape.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import type { Chain } from '../../../virtqueue/chain.ts'

const REQUESTQ = 0

/** Maximum bytes for one request, so that a huge one does not stall the machine. @virtio 5.4.6.2 allows fewer bytes */
export const MAX_BYTES = 65536

/** A driver cannot tell one source of random bytes from another. */
const STATE = stateShape('entropy', 1, {})

/**
 * Entropy device: fills the driver's buffers with random bytes.
 *
 *     const device = new EntropyDevice(cryptoRandomSource)
 *
 * Queue 0 (requestq) carries device-writable buffers only; there is no configuration space.
 *
 * @virtio 5.4
 */
export class EntropyDevice implements VirtioDevice {
  readonly id = DeviceId.ENTROPY
  readonly name = 'entropy'
  readonly queueSizes = [64]
  readonly features = 0n
  readonly config = new ConfigSpace(0)
  #session: DriverSession | undefined
  /** Random bytes written to the driver's buffers. */
  #bytes = 0
  /** Requests without a writable byte. */
  #empty = 0

  /** @param source source of the bytes: `cryptoRandomSource`, or a predictable one in tests */
  constructor(private readonly source: RandomSource) {}

  start(session: DriverSession): void {
    this.#session = session
  }

  notify(): void {
    const queue = this.#session?.queues[REQUESTQ]
    if (!queue) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) queue.push(chain, this.#fill(chain))
    queue.publish()
  }

  reset(): void {
    this.#session = undefined
  }

  /** Does nothing, because every request is answered before `notify` returns. */
  stopQueue(): void {}

  /** Does nothing, because the host side only answers requests. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({})
  }

  restore(state: SavedState): void {
    STATE.read(state)
  }

  inspect(): Record<string, unknown> {
    return { bytes: this.#bytes, empty: this.#empty }
  }

  /**
   * Fills the writable part of a chain. Readable parts, which a driver must not send, are skipped; a request without a
   * writable byte is returned with length 0. @virtio 5.4.6.1, 5.4.6.2
   */
  #fill(chain: Chain): number {
    const { lengths, offsets, regions } = chain.spans
    const most = Math.min(chain.writableLength, MAX_BYTES)
    if (most === 0) this.#empty++
    let done = 0
    for (let i = chain.readableSpans; done < most; i++) {
      const take = Math.min(lengths[i], most - done)
      this.source.fill(regions[i].u8.subarray(offsets[i], offsets[i] + take))
      done += take
    }
    this.#bytes += done
    return done
  }
}
