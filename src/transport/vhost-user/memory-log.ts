import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { EventFd } from '../../host/linux/event-fd.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import { DirtyLog } from './dirty-log.ts'
import type { RequestOf } from './messages.ts'
import type { Rings } from './rings.ts'

/** Log of pages that the device writes, for migration. @vhost-user Migration */
export class MemoryLog {
  /** True if all writes are logged, not only those to rings with VHOST_VRING_F_LOG. */
  all = false
  #log: DirtyLog | undefined
  #event: EventFd | undefined
  /** True if pages were logged since the event was signalled. */
  #dirty = false

  constructor(
    private readonly memory: GuestMemory,
    private readonly rings: Rings,
    private readonly reactor: Pick<Reactor, 'signal'>,
  ) {}

  /** Sets the log area. Takes ownership of the descriptor, even if the call fails. */
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

  /** Starts or stops listening to writes, after features or rings changed. */
  update(): void {
    const wanted = this.#log && (this.all || this.rings.logged)
    this.memory.onWrite = wanted ? (address, length) => this.#wrote(address, length) : undefined
  }

  /** Signals the front-end's event if pages were logged. Called before each sleep. */
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

  /**
   * Logs a write. Used rings are logged both at their log addresses and at their guest addresses, which is harmless.
   */
  #wrote(address: number, length: number): void {
    this.#log?.mark(address, length)
    const ringLog = this.rings.logAddress(address)
    if (ringLog !== undefined) this.#log?.mark(ringLog, length)
    this.#dirty = true
  }
}
