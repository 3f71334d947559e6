import type { GuestMemory } from '../memory/guest-memory.ts'
import type { Chain } from './chain.ts'
import { ChainBuilder, type ChainFault } from './chain-builder.ts'
import type { ChainJournal, SavedChain } from './chain-journal.ts'
import { ChainPool } from './chain-pool.ts'
import type { QueueControl, QueueCounters, QueuePosition, QueueSetup } from './device-queue.ts'

/** Base of split and packed queues: chains in flight, malformed chains and the broken state. */
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
  /** False after the queue was detached or broken. */
  protected live = true
  readonly #pool: ChainPool
  readonly #inOrder: boolean
  readonly #interrupt: () => void
  readonly #onBroken: (reason: string) => void
  #broken: string | undefined
  /** True if malformed chains were returned since the last `publish`. */
  #refused = false
  /** Index of the next unfinished chain of the journal. */
  #resumed = 0
  /** Number of chains read from the ring and not unread. */
  #reads = 0
  /** Number of unfinished chains of the journal. */
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

  /** Returns whether a chain is available. If not, and the queue is not polled, enables driver notifications. */
  protected abstract findAvailable(): boolean
  /** Reads the next available chain and advances past it, even if it is malformed. @returns the fault, if any */
  protected abstract read(chain: Chain): ChainFault | undefined
  /** Reads a chain that a previous device of the queue had in flight. @returns the fault, if any */
  protected abstract readSaved(chain: Chain, saved: SavedChain): ChainFault | undefined
  /** Moves back before the chain that was read last. */
  protected abstract unread(chain: Chain): void
  /** Fills the next used entry. */
  protected abstract use(chain: Chain, written: number): void
  /** Makes used entries visible. @returns whether the driver wants an interrupt; undefined if there were no entries */
  protected abstract expose(): boolean | undefined

  get broken(): string | undefined {
    return this.#broken
  }

  protected get inFlight(): number {
    return this.#pool.taken
  }

  pop(): Chain | undefined {
    if (!this.open) return undefined
    // The loop ends: unpublished chains count as in flight, and a driver that has more than `size` of them breaks the
    // queue, so at most `size` malformed chains are returned here.
    while (this.live && (this.#resumed < this.#unfinished || this.findAvailable())) {
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
    // The device need not call `publish` if it popped nothing, but the driver waits for its malformed chains.
    if (this.#refused) this.publish()
    return undefined
  }

  unpop(chain: Chain): boolean {
    if (!this.live || this.journal || !this.#pool.holds(chain) || chain.sequence !== this.#reads) return false
    this.unread(chain)
    this.#reads--
    this.counters.popped--
    this.#pool.release(chain)
    return true
  }

  push(chain: Chain, written: number): void {
    if (!this.live) return
    if (!this.#pool.holds(chain)) {
      this.counters.invalidPushes++
      return
    }
    const limit = chain.writableLength
    const length = written >= limit ? limit : written > 0 ? Math.floor(written) : 0
    // The device may report less than it wrote, but all written bytes are dirty.
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
    chain.sequence = ++this.#reads
    if (this.live) this.journal?.taken(chain)
    return fault
  }

  #resume(chain: Chain): ChainFault | undefined {
    const journal = this.journal as ChainJournal
    const saved = journal.unfinished[this.#resumed++]
    journal.resumed(chain, saved)
    return this.readSaved(chain, saved)
  }

  #retire(chain: Chain, written: number): void {
    const pool = this.#pool
    if (!this.#inOrder) {
      this.journal?.used(chain)
      this.use(chain, written)
      pool.release(chain)
      return
    }
    pool.finish(chain, written)
    for (let oldest = pool.oldestFinished(); oldest; oldest = pool.oldestFinished()) {
      this.journal?.used(oldest)
      this.use(oldest, pool.written(oldest))
      pool.releaseOldest(oldest)
    }
  }

  #reportWrites(chain: Chain, length: number): void {
    const spans = chain.spans
    for (let i = chain.readableSpans, remaining = length; i < spans.count && remaining > 0; i++) {
      const part = Math.min(remaining, spans.lengths[i])
      this.memory.wrote(spans.regions[i], spans.offsets[i], part)
      remaining -= part
    }
  }
}
