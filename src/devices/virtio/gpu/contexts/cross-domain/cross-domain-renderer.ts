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
      // All commands up to WRITE are known; those about channels are for channels, of which there are none.
      version: 1,
      supportedChannels: 0,
      // Over channels, that is.
      supportsDmabuf: 0,
      // Buffers are ordinary memory, which any GPU can be given. Without it minigbm leaves all allocations to virgl.
      supportsExternalGpuMemory: 1,
    }),
}

/** Contexts that share buffers across domains: capability set 5, as far as it allocates. */
export class CrossDomainRenderer implements Renderer {
  readonly capset = CAPSET
  readonly #heap: GpuHeap

  /** @param heap what buffers are made of */
  constructor(heap: GpuHeap) {
    this.#heap = heap
  }

  createContext(host: ContextHost): RenderContext {
    return new CrossDomainContext(this.#heap, host)
  }
}
