import { Capset } from '../../protocol.ts'
import type { GpuHeap } from '../../resources/heap.ts'
import type { CapabilitySet, ContextHost, RenderContext, Renderer } from '../renderer.ts'
import { CrossDomainContext } from './cross-domain-context.ts'
import { CAPABILITIES } from './protocol.ts'

const CAPSET: CapabilitySet = {
  id: Capset.CROSS_DOMAIN,
  maxVersion: 0,
  describe: () =>
    CAPABILITIES.encode({
      // All commands up to WRITE are known. POLL and later ones use channels, which are not supported.
      version: 1,
      supportedChannels: 0,
      // No dma-bufs over channels.
      supportsDmabuf: 0,
      // Buffers are ordinary memory, which any GPU can import. Without this bit, minigbm leaves all allocations to
      // virgl.
      supportsExternalGpuMemory: 1,
    }),
}

/** Renderer of capability set 5, cross-domain: allocates buffers, and has no channels. */
export class CrossDomainRenderer implements Renderer {
  readonly capset = CAPSET
  readonly #heap: GpuHeap

  /** @param heap memory of the buffers */
  constructor(heap: GpuHeap) {
    this.#heap = heap
  }

  createContext(host: ContextHost): RenderContext {
    return new CrossDomainContext(this.#heap, host)
  }
}
