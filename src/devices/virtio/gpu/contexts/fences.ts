import type { Chain } from '../../../../virtqueue/chain.ts'
import type { ControlHeader } from '../control-header.ts'
import type { GpuResponse } from '../protocol.ts'

/** A request that is done but for its fence. */
export interface FencedRequest {
  readonly chain: Chain
  readonly header: ControlHeader
  readonly response: GpuResponse
}

/**
 * Requests whose fences are not reached yet, in the order they came: each context has 64 timelines of them, its rings.
 *
 * There are never more than the control queue has descriptors.
 *
 * @virtio 5.7.6.7
 */
export class Fences {
  #waiting: FencedRequest[] = []

  get count(): number {
    return this.#waiting.length
  }

  /** Keeps a request until `take` gives it back. */
  add(chain: Chain, header: ControlHeader, response: GpuResponse): FencedRequest {
    const request = { chain, header: header.copy(), response }
    this.#waiting.push(request)
    return request
  }

  /** A fence is reached, and so are those before it on the same timeline: none where somebody took it before. */
  take(request: FencedRequest): FencedRequest[] {
    const last = this.#waiting.indexOf(request)
    return this.#remove((other, i) => i <= last && other.header.sameTimeline(request.header))
  }

  /** All of a context's, or of every context: nobody else would tell that they are reached. */
  takeAll(context?: number): FencedRequest[] {
    return this.#remove(({ header }) => context === undefined || header.context === context)
  }

  #remove(which: (request: FencedRequest, index: number) => boolean): FencedRequest[] {
    const taken = this.#waiting.filter(which)
    this.#waiting = this.#waiting.filter((request) => !taken.includes(request))
    return taken
  }
}
