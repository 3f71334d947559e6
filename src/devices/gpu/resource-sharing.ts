import { SpanList } from '../../memory/span-list.ts'
import type { Blob } from './resource.ts'
import type { BufferSharing, NotShared, SharedBuffer } from './shared-buffer.ts'

/** Has the host share resources, and counts what could not be. */
export class ResourceSharing {
  readonly #host: BufferSharing | undefined
  readonly #spans = new SpanList()
  readonly #refusals = new Map<string, number>()

  constructor(host: BufferSharing | undefined) {
    this.#host = host
  }

  /**
   * Has others have a blob, if they do not and it has pages. What could not be is not tried again with the same pages.
   * @returns false where that is what the blob is for, and they cannot
   */
  share(blob: Blob): boolean {
    const { id, owner, dmaBufOnly, mustShare } = blob
    const spans = this.#spans
    spans.clear()
    if (!this.#host || blob.buffer || blob.refusal || !blob.pages(spans)) return !(mustShare && blob.refusal)
    const outcome = this.#host.share(spans, { what: `resource ${id}`, owner, dmaBufOnly })
    if ('kind' in outcome) {
      blob.share(outcome)
      return true
    }
    this.#count(outcome)
    blob.refusal = outcome
    return !mustShare
  }

  /** Memory for a picture that others can have; undefined where there never is any. */
  allocate(byteLength: number, id: number): SharedBuffer | NotShared | undefined {
    const outcome = this.#host?.allocate(byteLength, `resource ${id}`)
    if (outcome && !('kind' in outcome)) this.#count(outcome)
    return outcome
  }

  /** What could not be shared, by what was wrong. */
  inspect(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refusals)
  }

  #count({ problem }: NotShared): void {
    this.#refusals.set(problem, (this.#refusals.get(problem) ?? 0) + 1)
  }
}
