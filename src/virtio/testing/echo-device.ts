import { Pending } from '../../pending/pending.ts'
import type { SavedState } from '../../snapshot/saved-state.ts'
import { elements, stateShape } from '../../snapshot/shape.ts'
import type { Chain } from '../../virtqueue/chain.ts'
import { ConfigSpace } from '../config-space.ts'
import type { DriverSession, VirtioDevice } from '../device.ts'
import { DeviceId } from '../device-id.ts'
import type { SharedMemoryRegion } from '../shared-memory.ts'

export const EchoFeature = { LOUD: 0, DOUBLE: 1, WIDE: 100 } as const

const STATE = stateShape('echo', 1, { config: elements(Uint8Array, 12) })

export interface EchoOptions {
  readonly queueSizes?: readonly number[]
  readonly sharedMemory?: readonly SharedMemoryRegion[]
  /** Keep chains until `answer`, so that resets wait for it. @default false */
  readonly slow?: boolean
}

/** Device for tests of a transport: copies the readable bytes of a chain to its writable part. */
export class EchoDevice implements VirtioDevice {
  readonly id = DeviceId.ENTROPY
  readonly name = 'echo'
  readonly queueSizes: readonly number[]
  readonly features =
    (1n << BigInt(EchoFeature.LOUD)) | (1n << BigInt(EchoFeature.DOUBLE)) | (1n << BigInt(EchoFeature.WIDE))
  readonly featureNames = EchoFeature
  readonly featureDependencies = [[EchoFeature.DOUBLE, EchoFeature.LOUD]] as const
  readonly config = new ConfigSpace(12, () => this.configWritten?.())
  readonly sharedMemory: readonly SharedMemoryRegion[]
  session: DriverSession | undefined
  /** Sessions begun, and resets. */
  starts = 0
  resets = 0
  /** Chains not yet pushed, with their queue. */
  readonly kept: { readonly queue: number; readonly chain: Chain }[] = []
  /** Called when the driver wrote to the configuration space. */
  configWritten: (() => void) | undefined
  /** Called at the start of each `notify`. */
  onNotify: (() => void) | undefined
  /** Calls of `suspend` without a `resume`. */
  suspensions = 0
  readonly #slow: boolean
  #answering: Pending | undefined

  constructor(options: EchoOptions = {}) {
    this.queueSizes = options.queueSizes ?? [64, 16]
    this.sharedMemory = options.sharedMemory ?? []
    this.#slow = options.slow ?? false
  }

  start(session: DriverSession): void {
    this.session = session
    this.starts++
  }

  notify(index: number): void {
    this.onNotify?.()
    const queue = this.session?.queues[index]
    if (!queue) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (this.#slow) this.kept.push({ queue: index, chain })
      else queue.push(chain, chain.reader.copyTo(chain.writer))
    }
    queue.publish()
  }

  /** Pushes all kept chains. */
  answer(): void {
    for (const { queue, chain } of this.kept.splice(0)) {
      const live = this.session?.queues[queue]
      live?.push(chain, chain.reader.copyTo(chain.writer))
      live?.publish()
    }
    this.#answering?.finish()
    this.#answering = undefined
  }

  stopQueue(index: number): void | Pending {
    if (!this.kept.some(({ queue }) => queue === index)) return
    this.#answering ??= new Pending()
    return this.#answering
  }

  reset(): void {
    this.session = undefined
    this.resets++
  }

  suspend(): void {
    this.suspensions++
  }

  resume(): void {
    this.suspensions--
  }

  /** Its state is what the driver wrote to the configuration space. */
  save(): SavedState {
    return STATE.write({ config: this.config.copy() })
  }

  restore(state: SavedState): void {
    const { config } = STATE.read(state)
    config.forEach((byte, i) => {
      this.config.view.setUint8(i, byte)
    })
  }
}
