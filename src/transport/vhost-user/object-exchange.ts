import { Descriptor } from '../../host/linux/descriptor.ts'
import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { uuidText } from '../../log/uuid-text.ts'
import type { BackendChannel } from './backend-channel.ts'
import type { Found, SharedObjects } from './shared-objects.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Maximum number of unanswered messages about objects; further ones wait. */
const MAX_UNANSWERED = 64
/** Maximum number of unanswered lookups. */
const MAX_LOOKUPS = 64
/** Timeout of a lookup, for which the front-end asks another back-end. */
const TIMEOUT_MS = 2000

/**
 * Shared objects of one connection: announces ours to the front-end, and looks up those of other devices.
 *
 * A guest may name objects at any rate. The front-end is updated one answer at a time, so names that come and go while
 * messages are unanswered are never announced.
 * @vhost-user SHARED_OBJECT
 */
export class ObjectExchange {
  readonly #objects: SharedObjects
  readonly #watch: Closable
  /** UUIDs of existing objects, by name. */
  readonly #present = new Map<string, Uint8Array>()
  /** Objects that were announced and not removed, by name. */
  readonly #announced = new Map<string, Uint8Array>()
  /** Names whose state at the front-end may be outdated. */
  readonly #due = new Set<string>()
  #unanswered = 0
  #lookups = 0
  #channel: BackendChannel | undefined

  constructor(
    objects: SharedObjects,
    private readonly reactor: Pick<Reactor, 'timer'>,
    private readonly log: (line: string) => void,
  ) {
    this.#objects = objects
    this.#watch = objects.watch({
      added: (uuid) => this.#changed(uuid, true),
      removed: (uuid) => this.#changed(uuid, false),
    })
  }

  /** Announces objects on this channel; all of them again if the channel is another one. */
  open(channel: BackendChannel): void {
    if (channel === this.#channel) return
    this.#channel = channel
    this.#unanswered = 0
    this.#announced.clear()
    for (const name of this.#present.keys()) this.#due.add(name)
    this.#announce()
  }

  /** Returns the descriptor for GET_SHARED_OBJECT, borrowed. @throws {VhostUserError} if there is no such object */
  give(uuid: Uint8Array): Descriptor {
    const found = this.#objects.find(uuid)
    if (found instanceof Descriptor) return found
    throw new VhostUserError(`${uuidText(uuid)}: ${found.reason}`)
  }

  /**
   * Looks up an object of another device. The thread does not block on it, because the front-end may be waiting for us.
   * @param found called within this call or in a later turn
   */
  lookup(uuid: Uint8Array, found: Found): void {
    const channel = this.#channel
    const name = uuidText(uuid)
    if (!channel || channel.closed) {
      found({ reason: 'the front-end keeps no table of shared objects' })
      return
    }
    if (this.#lookups >= MAX_LOOKUPS) {
      found({ reason: `the front-end has not answered ${MAX_LOOKUPS} lookups` })
      return
    }
    this.#lookups++
    let finished = false
    const finish: Found = (result) => {
      finished = true
      timer.close()
      found(result)
    }
    const timer = this.reactor.timer(TIMEOUT_MS, () =>
      finish({ reason: `no answer about ${name} within ${TIMEOUT_MS} ms` }),
    )
    channel.send('SHARED_OBJECT_LOOKUP', { uuid }, undefined, {
      answered: (status, [descriptor]) => {
        this.#lookups--
        // A late descriptor is closed.
        if (finished) return
        if (status !== 0) finish({ reason: `no device has ${name}` })
        else if (descriptor) finish(new Descriptor(descriptor.release(), `shared object ${name}`))
        else finish({ reason: `the front-end found ${name}, but sent no descriptor` })
      },
      lost: () => {
        this.#lookups--
        if (!finished) finish({ reason: 'the back-end channel closed' })
      },
    })
  }

  close(): void {
    this.#watch.close()
    this.#channel = undefined
  }

  #changed(uuid: Uint8Array, present: boolean): void {
    const name = uuidText(uuid)
    if (present) this.#present.set(name, uuid.slice())
    else this.#present.delete(name)
    if (this.#present.has(name) === this.#announced.has(name)) this.#due.delete(name)
    else this.#due.add(name)
    this.#announce()
  }

  /** Sends due messages, while fewer than `MAX_UNANSWERED` are unanswered. */
  #announce(): void {
    for (const name of this.#due) {
      if (!this.#channel || this.#unanswered >= MAX_UNANSWERED) return
      this.#due.delete(name)
      const present = this.#present.get(name)
      const announced = this.#announced.get(name)
      if (present) this.#add(this.#channel, name, present)
      else if (announced) this.#remove(this.#channel, name, announced)
    }
  }

  #add(channel: BackendChannel, name: string, uuid: Uint8Array): void {
    this.#announced.set(name, uuid)
    this.#send(channel, 'SHARED_OBJECT_ADD', uuid, (status) => {
      if (status === 0) return
      this.log(`the front-end refused shared object ${name}: other devices cannot find it`)
      if (this.#announced.get(name) === uuid) this.#announced.delete(name)
    })
  }

  #remove(channel: BackendChannel, name: string, uuid: Uint8Array): void {
    this.#announced.delete(name)
    this.#send(channel, 'SHARED_OBJECT_REMOVE', uuid, (status) => {
      if (status !== 0) this.log(`the front-end did not know shared object ${name} when it was removed`)
    })
  }

  #send(
    channel: BackendChannel,
    message: 'SHARED_OBJECT_ADD' | 'SHARED_OBJECT_REMOVE',
    uuid: Uint8Array,
    answered: (status: number) => void,
  ): void {
    this.#unanswered++
    channel.send(message, { uuid }, undefined, {
      answered: (status) => {
        this.#unanswered--
        answered(status)
        this.#announce()
      },
    })
  }
}
