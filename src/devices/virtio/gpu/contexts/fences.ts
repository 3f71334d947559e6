import type { Chain } from '../../../../virtqueue/chain.ts'
import type { ControlHeader } from '../control-header.ts'
import type { GpuResponse } from '../protocol.ts'

/** A request that is executed and waits for its fence. */
export interface FencedRequest {
  readonly chain: Chain
  readonly header: ControlHeader
  readonly response: GpuResponse
}

/**
 * Requests whose fences are not reached, in order of arrival. Each context has 64 independent timelines, its rings.
 *
 * The control queue bounds their number.
 *
 * @virtio 5.7.6.7
 */
export class Fences {
  #waiting: FencedRequest[] = []

  get count(): number {
    return this.#waiting.length
  }

  /** Adds a request. It stays until `take` or `takeAll` returns it. */
  add(chain: Chain, header: ControlHeader, response: GpuResponse): FencedRequest {
    const request = { chain, header: header.copy(), response }
    this.#waiting.push(request)
    return request
  }

  /**
   * Removes the request whose fence is reached, and all earlier ones of its timeline.
   * @returns empty if it was removed before
   */
  take(request: FencedRequest): FencedRequest[] {
    const last = this.#waiting.indexOf(request)
    return this.#remove((other, i) => i <= last && other.header.sameTimeline(request.header))
  }

  /** Removes all requests of a context, or of all contexts: their renderer no longer reports fences. */
  takeAll(context?: number): FencedRequest[] {
    return this.#remove(({ header }) => context === undefined || header.context === context)
  }

  #remove(which: (request: FencedRequest, index: number) => boolean): FencedRequest[] {
    const taken = this.#waiting.filter(which)
    this.#waiting = this.#waiting.filter((request) => !taken.includes(request))
    return taken
  }
}
