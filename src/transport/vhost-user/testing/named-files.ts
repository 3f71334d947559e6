import type { Descriptor } from '../../../host/linux/descriptor.ts'
import type { Closable } from '../../../host/linux/reactor/reactor.ts'
import { uuidText } from '../../../log/uuid-text.ts'
import type { NotFound, SharedObjects, SharedObjectsListener } from '../shared-objects.ts'

/** Shared objects that are arbitrary files instead of dma-bufs: the exchange does not check their kind. */
export class NamedFiles implements SharedObjects {
  readonly #files = new Map<string, { readonly uuid: Uint8Array; readonly file: Descriptor }>()
  readonly #listeners = new Set<SharedObjectsListener>()

  /** Borrows the file until it is removed. */
  add(uuid: Uint8Array, file: Descriptor): void {
    this.#files.set(uuidText(uuid), { uuid, file })
    for (const listener of this.#listeners) listener.added(uuid)
  }

  remove(uuid: Uint8Array): void {
    this.#files.delete(uuidText(uuid))
    for (const listener of this.#listeners) listener.removed(uuid)
  }

  watch(listener: SharedObjectsListener): Closable {
    this.#listeners.add(listener)
    for (const { uuid } of this.#files.values()) listener.added(uuid)
    return { close: () => this.#listeners.delete(listener) }
  }

  find(uuid: Uint8Array): Descriptor | NotFound {
    return this.#files.get(uuidText(uuid))?.file ?? { reason: 'there is none' }
  }
}
