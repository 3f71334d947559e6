import type { GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import type { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'
import { uuidText } from '../../log/uuid-text.ts'
import type { NotFound, SharedObjects, SharedObjectsListener } from './shared-objects.ts'

/**
 * Buffers of a guest as shared objects for its other devices. Only dma-bufs, because devices import no other kind. Code
 * in this process finds all buffers in `GuestBuffers`.
 */
export class BufferObjects implements SharedObjects {
  readonly #buffers: Pick<GuestBuffers, 'buffers' | 'find' | 'watch'>
  /** Problems that were logged. */
  readonly #logged = new Set<string>()

  /** @param log receives one line for each problem that keeps named buffers from other devices */
  constructor(
    buffers: Pick<GuestBuffers, 'buffers' | 'find' | 'watch'>,
    private readonly log: (line: string) => void,
  ) {
    this.#buffers = buffers
  }

  watch(listener: SharedObjectsListener): Closable {
    const added = (buffer: GuestBuffer): void => {
      const { info, kind, name, uuid } = buffer
      if (!uuid) return
      if (kind === 'dma-buf') listener.added(uuid)
      else this.#logOnce(info.problem ?? kind, `${name}, ${uuidText(uuid)}, is ${whyNot(buffer)}`)
    }
    for (const buffer of this.#buffers.buffers) added(buffer)
    return this.#buffers.watch({
      named: added,
      removed: ({ kind, uuid }) => {
        if (uuid && kind === 'dma-buf') listener.removed(uuid)
      },
    })
  }

  find(uuid: Uint8Array): Descriptor | NotFound {
    const buffer = this.#buffers.find(uuid)
    if (!buffer) return { reason: 'no buffer has this name' }
    const { handles } = buffer
    return handles.kind === 'dma-buf' ? handles.descriptor : { reason: whyNot(buffer) }
  }

  #logOnce(problem: string, line: string): void {
    if (this.#logged.has(problem)) return
    this.#logged.add(problem)
    this.log(line)
  }
}

function whyNot({ reason }: GuestBuffer): string {
  return `not a dma-buf, so other processes cannot import it: ${reason}`
}
