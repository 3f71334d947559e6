import {
  ConfigSpace,
  DeviceId,
  type DeviceQueue,
  type DriverSession,
  type SavedState,
  stateShape,
  type VirtioDevice,
} from '../src/index.ts'

const STATE = stateShape('random-byte', 1, {})

/** Answers each request with random bytes, at most 256 of them: what Linux offers as /dev/hwrng. */
export class RandomByteDevice implements VirtioDevice {
  readonly id = DeviceId.ENTROPY
  readonly name = 'random-byte'
  readonly queueSizes = [64]
  readonly features = 0n
  readonly config = new ConfigSpace(0)
  #requests: DeviceQueue | undefined

  constructor(private readonly randomByte: () => number) {}

  start(session: DriverSession): void {
    this.#requests = session.queues[0]
  }

  notify(): void {
    const queue = this.#requests
    if (!queue) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const length = Math.min(chain.writer.remaining, 256)
      for (let i = 0; i < length; i++) chain.writer.u8(this.randomByte())
      queue.push(chain, length)
    }
    queue.publish()
  }

  stopQueue(): void {}

  reset(): void {
    this.#requests = undefined
  }

  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({})
  }

  restore(state: SavedState): void {
    STATE.read(state)
  }
}
