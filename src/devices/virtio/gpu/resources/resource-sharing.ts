import { SpanList } from '../../../../memory/span-list.ts'
import type { BufferSharing, NotShared, SharedBuffer } from '../../../../services/shared-buffer.ts'
import type { Scanout } from '../scanout.ts'
import type { Blob } from './resource.ts'

/** Exports resources to other processes and devices of the host, and counts failures. */
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
   * Call after a blob received other backing or memory. Exports it if it was created shareable, is on a scanout, or was
   * exported before.
   * @returns false if it was created shareable and cannot be exported: the caller must remove the pages
   */
  update(blob: Blob): boolean {
    if (blob.buffer) return true
    const shown = this.#scanouts.filter((scanout) => scanout.shows(blob))
    const wanted = blob.mustShare || blob.exported.wasExported || shown.length > 0
    if (wanted && !this.share(blob) && blob.mustShare) return false
    for (const scanout of shown) scanout.renew()
    return true
  }

  /**
   * Exports a blob, if it has pages. A failure is remembered until the pages change.
   * @returns false if it cannot be exported
   */
  share(blob: Blob): boolean {
    const { id, owner, dmaBufOnly } = blob
    const spans = this.#spans
    spans.clear()
    const { buffer, refusal } = blob.exported
    if (!this.#host || buffer || refusal || !blob.pages(spans)) return refusal === undefined
    const outcome = this.#host.share(spans, { what: `resource ${id}`, owner, dmaBufOnly })
    if ('kind' in outcome) {
      blob.share(outcome)
      return true
    }
    this.#count(outcome)
    blob.exported.refuse(outcome)
    return false
  }

  /** Allocates exportable memory for a 2D resource. @returns undefined without `BufferSharing` */
  allocate(byteLength: number, id: number): SharedBuffer | NotShared | undefined {
    const outcome = this.#host?.allocate(byteLength, `resource ${id}`)
    if (outcome && !('kind' in outcome)) this.#count(outcome)
    return outcome
  }

  /** Failed exports, by problem. */
  inspect(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#refusals)
  }

  #count({ problem }: NotShared): void {
    this.#refusals.set(problem, (this.#refusals.get(problem) ?? 0) + 1)
  }
}
