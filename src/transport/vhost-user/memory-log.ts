import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { EventFd } from '../../host/linux/event-fd.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import { DirtyLog } from './dirty-log.ts'
import type { RequestOf } from './messages.ts'
import type { Rings } from './rings.ts'

/** Whether and where what the device writes is logged, and who is told. @vhost-user Migration */
export class MemoryLog {
  /** All writes are to be logged, not only those to rings that say so. */
  all = false
  #log: DirtyLog | undefined
  #event: EventFd | undefined
  /** Something was logged since the event was signalled. */
  #dirty = false

  constructor(
    private readonly memory: GuestMemory,
    private readonly rings: Rings,
    private readonly reactor: Pick<Reactor, 'signal'>,
  ) {}

  /** The descriptor is the log's, whatever happens. */
  setBase(descriptor: Descriptor, { size, offset }: RequestOf<'SET_LOG_BASE'>): void {
    const log = new DirtyLog(Mapping.of(descriptor, { offset, length: size }))
    this.#log?.close()
    this.#log = log
    this.update()
  }

  setEvent(event: EventFd): void {
    this.#event?.close()
    this.#event = event
  }

  /**
   * Features or rings changed: from now on writes are logged, or not. While they are not, nothing is called for them.
   */
  update(): void {
    const wanted = this.#log && (this.all || this.rings.logged)
    this.memory.onWrite = wanted ? (address, length) => this.#wrote(address, length) : undefined
  }

  /** Tells the front-end, if anything was logged. To be called before each sleep. */
  signal(): void {
    if (!this.#dirty) return
    this.#dirty = false
    if (this.#event) this.reactor.signal(this.#event)
  }

  close(): void {
    this.memory.onWrite = undefined
    this.#log?.close()
    this.#event?.close()
  }

  /** A page too many does no harm: what only rings would have to log is logged where the guest has it, too. */
  #wrote(address: number, length: number): void {
    this.#log?.mark(address, length)
    const elsewhere = this.rings.logAddress(address)
    if (elsewhere !== undefined) this.#log?.mark(elsewhere, length)
    this.#dirty = true
  }
}
