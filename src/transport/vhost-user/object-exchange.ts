import { Descriptor } from '../../host/linux/descriptor.ts'
import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import type { BackendChannel } from './backend-channel.ts'
import { type Found, type SharedObjects, uuidText } from './shared-objects.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Messages about objects that the front-end has not answered; what else there is to say waits. */
const MAX_UNANSWERED = 64
/** Searches that the front-end has not answered. */
const MAX_LOOKUPS = 64
/** How long a search waits for the front-end, which asks another back-end. */
const TIMEOUT_MS = 2000

/**
 * Objects of one connection: which of ours the front-end was told of, and which of others' we look for.
 *
 * A guest names objects as fast as it likes. What the front-end knows is brought up to what there is one answer at a
 * time, so that names that come and go before it looks are never spoken of.
 * @vhost-user SHARED_OBJECT
 */
export class ObjectExchange {
  readonly #objects: SharedObjects
  readonly #watch: Closable
  /** Objects there are, by name. */
  readonly #present = new Map<string, Uint8Array>()
  /** Objects that the front-end was told of and not told that they are gone. */
  readonly #told = new Map<string, Uint8Array>()
  /** Names of which the front-end may know something else than there is. */
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

  /** Tells of objects on this channel from now on, and of all of them if it is another than before. */
  open(channel: BackendChannel): void {
    if (channel === this.#channel) return
    this.#channel = channel
    this.#unanswered = 0
    this.#told.clear()
    for (const name of this.#present.keys()) this.#due.add(name)
    this.#tell()
  }

  /** What GET_SHARED_OBJECT is answered with, borrowed. @throws {VhostUserError} where there is none */
  give(uuid: Uint8Array): Descriptor {
    const found = this.#objects.find(uuid)
    if (found instanceof Descriptor) return found
    throw new VhostUserError(`${uuidText(uuid)}: ${found.reason}`)
  }

  /**
   * Looks for an object of another device. Nobody waits for that meanwhile, since the front-end may be waiting for us.
   * @param found told within the call, or in a later turn
   */
  lookup(uuid: Uint8Array, found: Found): void {
    const channel = this.#channel
    const name = uuidText(uuid)
    if (!channel || channel.closed) {
      found({ reason: 'the front-end keeps no table of shared objects' })
      return
    }
    if (this.#lookups >= MAX_LOOKUPS) {
      found({ reason: `the front-end has not answered ${MAX_LOOKUPS} searches` })
      return
    }
    this.#lookups++
    let over = false
    const finish: Found = (result) => {
      over = true
      timer.close()
      found(result)
    }
    const timer = this.reactor.timer(TIMEOUT_MS, () => finish({ reason: `no answer about ${name} for too long` }))
    channel.send('SHARED_OBJECT_LOOKUP', { uuid }, undefined, {
      answered: (status, [descriptor]) => {
        this.#lookups--
        // What comes too late is closed.
        if (over) return
        if (status !== 0) finish({ reason: `no device has ${name}` })
        else if (descriptor) finish(new Descriptor(descriptor.release(), `shared object ${name}`))
        else finish({ reason: `the front-end found ${name}, and sent no descriptor` })
      },
      lost: () => {
        this.#lookups--
        if (!over) finish({ reason: 'the front-end is gone' })
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
    if (this.#present.has(name) === this.#told.has(name)) this.#due.delete(name)
    else this.#due.add(name)
    this.#tell()
  }

  #tell(): void {
    for (const name of this.#due) {
      if (!this.#channel || this.#unanswered >= MAX_UNANSWERED) return
      this.#due.delete(name)
      const present = this.#present.get(name)
      const told = this.#told.get(name)
      if (present) this.#add(this.#channel, name, present)
      else if (told) this.#remove(this.#channel, name, told)
    }
  }

  #add(channel: BackendChannel, name: string, uuid: Uint8Array): void {
    this.#told.set(name, uuid)
    this.#send(channel, 'SHARED_OBJECT_ADD', uuid, (status) => {
      if (status === 0) return
      this.log(`the front-end does not take ${name}: no other device will find it`)
      if (this.#told.get(name) === uuid) this.#told.delete(name)
    })
  }

  #remove(channel: BackendChannel, name: string, uuid: Uint8Array): void {
    this.#told.delete(name)
    this.#send(channel, 'SHARED_OBJECT_REMOVE', uuid, (status) => {
      if (status !== 0) this.log(`the front-end did not know ${name}, which is gone`)
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
        this.#tell()
      },
    })
  }
}
