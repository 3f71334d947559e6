import { SpanList } from '../../../../memory/span-list.ts'
import type { BufferSharing, NotShared, SharedBuffer } from '../../../../services/shared-buffer.ts'
import type { Scanout } from '../scanout.ts'
import type { Blob } from './resource.ts'

/** Has the host share resources, and counts what could not be. */
export class ResourceSharing {
  readonly #host: BufferSharing | undefined
  readonly #scanouts: readonly Scanout[]
  readonly #spans = new SpanList()
  readonly #refusals = new Map<string, number>()

  constructor(host: BufferSharing | undefined, scanouts: readonly Scanout[]) {
    this.#host = host
    this.#scanouts = scanouts
  }

  /**
   * A blob has pages, where it had none or others. Others have them if it is for that, shown, or was theirs before.
   * @returns false where it is for others, who cannot have them: the pages are to be taken away again
   */
  settle(blob: Blob): boolean {
    if (blob.buffer) return true
    const shown = this.#scanouts.filter((scanout) => scanout.shows(blob))
    const wanted = blob.mustShare || blob.wasShared || shown.length > 0
    if (wanted && !this.share(blob) && blob.mustShare) return false
    for (const scanout of shown) scanout.renew()
    return true
  }

  /**
   * Gives others a blob, if it has pages. What could not be is not tried again with the same pages.
   * @returns false where they cannot have it
   */
  share(blob: Blob): boolean {
    const { id, owner, dmaBufOnly } = blob
    const spans = this.#spans
    spans.clear()
    if (!this.#host || blob.buffer || blob.refusal || !blob.pages(spans)) return blob.refusal === undefined
    const outcome = this.#host.share(spans, { what: `resource ${id}`, owner, dmaBufOnly })
    if ('kind' in outcome) {
      blob.share(outcome)
      return true
    }
    this.#count(outcome)
    blob.refusal = outcome
    return false
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
