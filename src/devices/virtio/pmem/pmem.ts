import { Pending } from '../../../pending/pending.ts'
import type { PersistentFile } from '../../../services/persistent-file.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { integer, stateShape } from '../../../snapshot/shape.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { featureSet, hasFeature } from '../../../virtio/feature.ts'
import type { SharedMemoryRegion } from '../../../virtio/shared-memory.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { CONFIG_BYTES, PmemFeature, PmemRequest, PmemResult, REGION_ID } from './protocol.ts'

const REQ_VQ = 0
/** Size of a request and of its result, in bytes. */
const WORD = 4

const STATE = stateShape('pmem', 1, { size: integer(0, Number.MAX_SAFE_INTEGER) })

/**
 * PMEM device: a file that the guest accesses as persistent memory.
 *
 *     const device = new PmemDevice(PmemFile.open('data.img', reactor, log))
 *
 * The guest reads and writes the file through a mapping of the monitor's. Queue 0 carries its requests to make what it wrote
 * durable. All requests that arrive during a flush share the next one.
 *
 * @virtio 5.19
 */
export class PmemDevice implements VirtioDevice {
  readonly id = DeviceId.PMEM
  readonly name = 'pmem'
  readonly queueSizes = [64]
  readonly features = featureSet(PmemFeature.SHMEM_REGION)
  readonly featureNames = PmemFeature
  readonly config = new ConfigSpace(CONFIG_BYTES)
  readonly sharedMemory: readonly SharedMemoryRegion[]
  readonly #file: PersistentFile
  #session: DriverSession | undefined
  /** Queue of the requests in flight. */
  #queue: DeviceQueue | undefined
  /** Requests of the flush under way. */
  #flushing: Chain[] = []
  /** Requests that arrived since it began. */
  #waiting: Chain[] = []
  #stopped: Pending | undefined
  #requests = 0
  #flushes = 0
  /** Requests with another type, or without room for a result. */
  #invalid = 0

  constructor(file: PersistentFile) {
    this.#file = file
    this.sharedMemory = [{ id: REGION_ID, size: file.size, file: file.backing }]
  }

  start(session: DriverSession): void {
    this.#session = session
    if (hasFeature(session.features, PmemFeature.SHMEM_REGION)) return
    session.needsReset('the driver does not support SHMEM_REGION: Linux 6.12 does, 6.1 does not')
  }

  notify(): void {
    const queue = this.#session?.queues[REQ_VQ]
    if (!queue) return
    this.#queue = queue
    for (let chain = queue.pop(); chain; chain = queue.pop()) this.#accept(queue, chain)
    queue.publish()
    this.#flush()
  }

  stopQueue(): void | Pending {
    if (this.#flushing.length === 0) return
    this.#stopped ??= new Pending()
    return this.#stopped
  }

  reset(): void {
    this.#session = undefined
    this.#queue = undefined
  }

  /** Does nothing, because the host side only answers requests. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({ size: this.#file.size })
  }

  restore(state: SavedState): void {
    const { size } = STATE.read(state)
    if (size !== this.#file.size) throw new SnapshotError(`the file has ${this.#file.size} bytes, not ${size}`)
  }

  inspect(): Record<string, unknown> {
    return {
      requests: this.#requests,
      flushes: this.#flushes,
      invalid: this.#invalid,
      inFlight: this.#flushing.length + this.#waiting.length,
      file: this.#file.inspect(),
    }
  }

  #accept(queue: DeviceQueue, chain: Chain): void {
    const { reader, writer } = chain
    if (reader.remaining >= WORD && writer.remaining >= WORD && reader.u32() === PmemRequest.FLUSH) {
      this.#requests++
      this.#waiting.push(chain)
      return
    }
    this.#invalid++
    if (writer.remaining < WORD) queue.push(chain, 0)
    else this.#answer(queue, chain, PmemResult.FAILED)
  }

  /** Begins a flush for all requests that wait, unless one is under way. @virtio 5.19.7.1 */
  #flush(): void {
    if (this.#flushing.length > 0 || this.#waiting.length === 0) return
    const requests = this.#waiting
    this.#waiting = this.#flushing
    this.#flushing = requests
    this.#flushes++
    this.#file.flush(this.#flushed)
  }

  readonly #flushed = (durable: boolean): void => {
    const queue = this.#queue
    if (queue) {
      for (const chain of this.#flushing) this.#answer(queue, chain, durable ? PmemResult.OK : PmemResult.FAILED)
    }
    this.#flushing.length = 0
    this.#session?.publishSoon()
    this.#flush()
    if (this.#flushing.length > 0) return
    this.#stopped?.finish()
    this.#stopped = undefined
  }

  #answer(queue: DeviceQueue, chain: Chain, result: number): void {
    chain.writer.u32(result)
    queue.push(chain, WORD)
  }
}
