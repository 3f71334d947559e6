import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Chain } from './chain.ts'
import { ChainBuilder, type ChainFault } from './chain-builder.ts'
import type { ChainJournal, SavedChain } from './chain-journal.ts'
import { ChainPool } from './chain-pool.ts'
import type { QueueControl, QueueCounters, QueuePosition, QueueSetup } from './device-queue.ts'

/** What split and packed queues share: who holds which chain, what was refused, and when it all ended. */
export abstract class RingQueue implements QueueControl {
  readonly index: number
  readonly size: number
  readonly counters: QueueCounters = {
    popped: 0,
    pushed: 0,
    malformed: 0,
    lastFault: undefined,
    invalidPushes: 0,
    interrupts: 0,
    suppressed: 0,
  }
  open = true
  polled = false
  protected readonly memory: GuestMemory
  protected readonly builder: ChainBuilder
  protected readonly journal: ChainJournal | undefined
  /** Neither detached nor broken. */
  protected live = true
  readonly #pool: ChainPool
  readonly #inOrder: boolean
  readonly #interrupt: () => void
  readonly #onBroken: (reason: string) => void
  #broken: string | undefined
  /** Chains were refused since the last publication. */
  #refused = false
  /** The next of the journal's unfinished chains, and how many there are. */
  #resumed = 0
  readonly #unfinished: number

  constructor(setup: QueueSetup) {
    this.index = setup.index
    this.size = setup.size
    this.memory = setup.memory
    this.builder = new ChainBuilder(setup.memory, setup.size, setup.indirect)
    this.#pool = new ChainPool(setup.size, setup.inOrder)
    this.#inOrder = setup.inOrder
    this.#interrupt = setup.interrupt
    this.#onBroken = setup.onBroken
    this.journal = setup.journal
    this.#unfinished = setup.journal?.unfinished.length ?? 0
  }

  abstract get position(): QueuePosition

  abstract hasWork(): boolean

  /** Whether there is a chain to read; where not and nobody polls, the driver was asked to notify of the next one. */
  protected abstract look(): boolean
  /** Reads the next available chain and moves past it, whatever is wrong with it. */
  protected abstract read(chain: Chain): ChainFault | undefined
  /** Reads a chain that was read before, by whoever served the queue then. */
  protected abstract readAgain(chain: Chain, saved: SavedChain): ChainFault | undefined
  /** Fills the next used entry. */
  protected abstract use(chain: Chain, written: number): void
  /** Makes used entries visible. @returns undefined where there were none, else whether the driver wants to know */
  protected abstract expose(): boolean | undefined

  get broken(): string | undefined {
    return this.#broken
  }

  protected get inFlight(): number {
    return this.#pool.taken
  }

  pop(): Chain | undefined {
    if (!this.open) return undefined
    // Bounded: whatever was not published yet counts as in flight, and a driver with more than `size` of that breaks
    // the queue, so that at most `size` chains are refused here.
    while (this.live && (this.#resumed < this.#unfinished || this.look())) {
      const chain = this.#pool.take()
      const fault = this.#resumed < this.#unfinished ? this.#resume(chain) : this.#readNext(chain)
      if (!this.live) return undefined
      if (fault === undefined) {
        this.builder.finish()
        this.counters.popped++
        return chain
      }
      this.counters.malformed++
      this.counters.lastFault = fault
      this.#refused = true
      this.#retire(chain, 0)
    }
    // A device may not publish when it got nothing, and the driver must not wait for what was refused.
    if (this.#refused) this.publish()
    return undefined
  }

  push(chain: Chain, written: number): void {
    if (!this.live) return
    if (!this.#pool.holds(chain)) {
      this.counters.invalidPushes++
      return
    }
    const most = chain.writableLength
    const length = written >= most ? most : written > 0 ? Math.floor(written) : 0
    // The device may have written more than it vouches for: what its writer passed over is dirty too.
    this.#reportWrites(chain, Math.max(length, chain.writer.written))
    this.counters.pushed++
    this.#retire(chain, Math.min(length, 0xffff_ffff))
  }

  publish(): void {
    if (!this.live) return
    this.#refused = false
    const wanted = this.expose()
    if (wanted === undefined) return
    if (wanted) {
      this.counters.interrupts++
      this.#interrupt()
    } else {
      this.counters.suppressed++
    }
  }

  detach(): void {
    this.live = false
  }

  protected break(reason: string): void {
    if (!this.live) return
    this.live = false
    this.#broken = reason
    this.#onBroken(reason)
  }

  #readNext(chain: Chain): ChainFault | undefined {
    const fault = this.read(chain)
    if (this.live) this.journal?.taken(chain)
    return fault
  }

  #resume(chain: Chain): ChainFault | undefined {
    const journal = this.journal as ChainJournal
    const saved = journal.unfinished[this.#resumed++]
    journal.resumed(chain, saved)
    return this.readAgain(chain, saved)
  }

  #retire(chain: Chain, written: number): void {
    const pool = this.#pool
    if (!this.#inOrder) {
      this.journal?.used(chain)
      this.use(chain, written)
      pool.give(chain)
      return
    }
    pool.finish(chain, written)
    for (let oldest = pool.oldestFinished(); oldest; oldest = pool.oldestFinished()) {
      this.journal?.used(oldest)
      this.use(oldest, pool.written(oldest))
      pool.giveOldest(oldest)
    }
  }

  #reportWrites(chain: Chain, length: number): void {
    const spans = chain.spans
    for (let i = chain.readableSpans, left = length; i < spans.count && left > 0; i++) {
      const part = Math.min(left, spans.lengths[i])
      this.memory.wrote(spans.regions[i], spans.offsets[i], part)
      left -= part
    }
  }
}
