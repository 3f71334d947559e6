import { SpanList } from '../../../memory/span-list.ts'
import type { MemoryRelease } from '../../../services/memory-release.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { integer, stateShape } from '../../../snapshot/shape.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { featureSet, hasFeature } from '../../../virtio/feature.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import { forEachRun } from './page-runs.ts'
import {
  BALLOON_PAGE,
  BalloonFeature,
  CONFIG_ACTUAL,
  CONFIG_BYTES,
  CONFIG_HINT_COMMAND,
  CONFIG_NUM_PAGES,
  CONFIG_POISON,
  QueueRole,
  REPORTING_INDEX,
  STATISTIC_BYTES,
  STATISTIC_NAMES,
} from './protocol.ts'

/** Maximum number of pages of one chain that are returned to the host; Linux sends 256. Further ones stay in memory. */
export const MAX_PAGES = 16384
/** Page numbers that are sorted together. */
const BATCH = 1024
/** Maximum number of statistics that are read from one buffer. */
const MAX_STATISTICS = 64

const MAX_U32 = 0xffff_ffff

const STATE = stateShape('balloon', 1, {
  target: integer(0, MAX_U32),
  actual: integer(0, MAX_U32),
  poison: integer(0, MAX_U32),
})

export interface BalloonOptions {
  /** Size that the balloon has at first, in bytes. @default 0 */
  readonly size?: number | undefined
  /** Lets the driver take pages back if the guest has no memory left. @default false */
  readonly deflateOnOom?: boolean | undefined
  /** Offers free page reporting. @default true */
  readonly reporting?: boolean | undefined
}

/**
 * Balloon device: takes memory from a guest that runs, and returns it.
 *
 *     const device = new BalloonDevice(new HoleRelease(log))
 *     device.resize(64 << 20)                // the driver gives 64 MiB, which go to the host
 *     device.resize(0)                       // and takes them back
 *
 * Queues carry page numbers (inflate, deflate), statistics, and free pages that the driver reports by itself.
 *
 * @virtio 5.5
 */
export class BalloonDevice implements VirtioDevice {
  readonly id = DeviceId.BALLOON
  readonly name = 'balloon'
  /** Linux refuses a reporting queue of fewer than 32 descriptors. */
  readonly queueSizes = [128, 128, 128, 128, 128]
  readonly features: bigint
  readonly featureNames = BalloonFeature
  readonly reachesMemory = true
  readonly config = new ConfigSpace(CONFIG_BYTES, () => this.#configWritten())
  readonly #memory: MemoryRelease
  #session: DriverSession | undefined
  /** Roles of the queues by index, from the features that the driver accepted. */
  #roles: readonly (QueueRole | undefined)[] = []
  /** Buffer of statistics, which is returned to request new ones. */
  #held: { readonly queue: DeviceQueue; readonly chain: Chain } | undefined
  /** Values of the last statistics by name. */
  #statistics: Record<string, number> = {}
  /** Size that the host wants, in pages. */
  #target: number
  readonly #pages = new Uint32Array(BATCH)
  readonly #spans = new SpanList()
  /** Pages that the driver gave, took back and reported. */
  #inflated = 0
  #deflated = 0
  #reported = 0
  /** Pages that are not guest memory, or exceed `MAX_PAGES` of a chain. */
  #ignored = 0

  constructor(memory: MemoryRelease, { size = 0, deflateOnOom = false, reporting = true }: BalloonOptions = {}) {
    this.#memory = memory
    this.#target = toPages(size)
    this.features =
      featureSet(BalloonFeature.STATS_VQ, BalloonFeature.PAGE_POISON) |
      (deflateOnOom ? featureSet(BalloonFeature.DEFLATE_ON_OOM) : 0n) |
      (reporting ? featureSet(BalloonFeature.PAGE_REPORTING) : 0n)
    this.config.view.setUint32(CONFIG_NUM_PAGES, this.#target, true)
  }

  /** Asks the driver for a balloon of `size` bytes, which it reaches as far as the guest can spare memory. */
  resize(size: number): void {
    this.#target = toPages(size)
    this.config.update((view) => view.setUint32(CONFIG_NUM_PAGES, this.#target, true))
  }

  /** Requests new statistics, which a later `inspect` shows. @virtio 5.5.6.3 */
  requestStatistics(): void {
    if (!this.#held) return
    const { queue, chain } = this.#held
    this.#held = undefined
    queue.push(chain, 0)
    this.#session?.publishSoon()
  }

  start(session: DriverSession): void {
    this.#session = session
    this.#roles = queueRoles(session.features)
  }

  notify(index: number): void {
    const queue = this.#session?.queues[index]
    const role = this.#roles[index]
    if (!queue || !role) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      if (role === QueueRole.STATS) {
        this.#holdStatistics(queue, chain)
        continue
      }
      if (role === QueueRole.INFLATE) this.#inflate(chain)
      // Pages come back by page faults.
      else if (role === QueueRole.DEFLATE) this.#deflated += Math.floor(chain.readableLength / 4)
      else this.#report(chain)
      queue.push(chain, 0)
    }
    queue.publish()
  }

  stopQueue(index: number): void {
    const held = this.#held
    if (this.#roles[index] !== QueueRole.STATS || !held) return
    this.#held = undefined
    if (!held.queue.unpop(held.chain)) held.queue.push(held.chain, 0)
  }

  reset(): void {
    this.#session = undefined
    this.#roles = []
    this.#held = undefined
    this.#statistics = {}
    const { view } = this.config
    view.setUint32(CONFIG_ACTUAL, 0, true)
    view.setUint32(CONFIG_POISON, 0, true)
  }

  /** Does nothing, because the host side only answers requests. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({ target: this.#target, actual: this.#actual, poison: this.#poison })
  }

  restore(state: SavedState): void {
    const { target, actual, poison } = STATE.read(state)
    this.#target = target
    const { view } = this.config
    view.setUint32(CONFIG_NUM_PAGES, target, true)
    view.setUint32(CONFIG_ACTUAL, actual, true)
    view.setUint32(CONFIG_POISON, poison, true)
  }

  inspect(): Record<string, unknown> {
    return {
      target: this.#target * BALLOON_PAGE,
      actual: this.#actual * BALLOON_PAGE,
      inflatedPages: this.#inflated,
      deflatedPages: this.#deflated,
      reportedBytes: this.#reported,
      ignoredPages: this.#ignored,
      statistics: { ...this.#statistics },
      memory: this.#memory.inspect(),
    }
  }

  /** Pages that the driver says are in the balloon. */
  get #actual(): number {
    return this.config.view.getUint32(CONFIG_ACTUAL, true)
  }

  /** Value that the driver writes to free pages. */
  get #poison(): number {
    return this.config.view.getUint32(CONFIG_POISON, true)
  }

  /** Undoes writes to the fields that the driver only reads. */
  #configWritten(): void {
    const { view } = this.config
    view.setUint32(CONFIG_NUM_PAGES, this.#target, true)
    view.setUint32(CONFIG_HINT_COMMAND, 0, true)
  }

  /** Returns the pages of a chain to the host before the driver receives the chain back. @virtio 5.5.6.2 */
  #inflate({ reader }: Chain): void {
    let room = MAX_PAGES
    while (room > 0 && reader.remaining >= 4) {
      let count = 0
      for (; count < BATCH && reader.remaining >= 4; count++) this.#pages[count] = reader.u32()
      forEachRun(this.#pages, count, this.#collectRun)
      this.#releaseSpans()
      room -= count
    }
    this.#ignored += Math.floor(reader.remaining / 4)
  }

  readonly #collectRun = (first: number, length: number): void => {
    if (this.#session?.memory.translate(first * BALLOON_PAGE, length * BALLOON_PAGE, this.#spans, true)) {
      this.#inflated += length
    } else this.#ignored += length
  }

  /** Returns reported pages to the host; they then read as zeroes, which a driver with another poison value forbids. */
  #report({ spans, readableSpans, writableLength }: Chain): void {
    this.#reported += writableLength
    if (this.#poison !== 0 && hasFeature(this.#session?.features ?? 0n, BalloonFeature.PAGE_POISON)) return
    for (let i = readableSpans; i < spans.count; i++) {
      this.#spans.merge(spans.regions[i], spans.offsets[i], spans.lengths[i])
    }
    this.#releaseSpans()
  }

  #releaseSpans(): void {
    this.#memory.release(this.#spans)
    this.#spans.clear()
  }

  /** Reads statistics, and keeps the buffer. Tags without a name are ignored. @virtio 5.5.6.3.2 */
  #holdStatistics(queue: DeviceQueue, chain: Chain): void {
    if (this.#held) queue.push(this.#held.chain, 0)
    this.#held = { queue, chain }
    const { reader } = chain
    const statistics: Record<string, number> = {}
    for (let i = 0; i < MAX_STATISTICS && reader.remaining >= STATISTIC_BYTES; i++) {
      const name = STATISTIC_NAMES[reader.u16()]
      const value = reader.u64()
      if (name !== undefined) statistics[name] = value
    }
    this.#statistics = statistics
  }
}

/**
 * Returns the roles of the queues by index. Drivers number the queues that exist without gaps; the specification gives the
 * reporting queue its index in any case, so both are served. @virtio 5.5.2
 */
function queueRoles(features: bigint): readonly (QueueRole | undefined)[] {
  const reporting = hasFeature(features, BalloonFeature.PAGE_REPORTING)
  const roles: (QueueRole | undefined)[] = [QueueRole.INFLATE, QueueRole.DEFLATE]
  if (hasFeature(features, BalloonFeature.STATS_VQ)) roles.push(QueueRole.STATS)
  if (reporting) {
    roles.push(QueueRole.REPORTING)
    roles[REPORTING_INDEX] = QueueRole.REPORTING
  }
  return roles
}

function toPages(bytes: number): number {
  return Math.min(MAX_U32, Math.floor(bytes / BALLOON_PAGE))
}
