import type { RenderContext, Renderer } from '../contexts/renderer.ts'
import { Capset, GpuResponse } from '../protocol.ts'
import type { GpuHeap } from '../resources/heap.ts'
import { HostBlob } from '../resources/host-blob.ts'

/** A renderer that completes commands later, when a test calls the fence's `reached`, like a renderer with a GPU. */
export class SlowRenderer implements Renderer {
  readonly capset = { id: Capset.VENUS, maxVersion: 2, describe: (version: number) => new Uint8Array(8).fill(version) }
  /** Calls, in order. */
  readonly calls: string[] = []
  /** Fences that are not reached, with their rings. */
  readonly fences: { readonly ring: number; readonly reached: () => void }[] = []

  constructor(private readonly heap?: GpuHeap) {}

  createContext(): RenderContext {
    const { calls, fences, heap } = this
    return {
      attach: ({ id }) => calls.push(`attach ${id}`),
      detach: ({ id }) => calls.push(`detach ${id}`),
      submit: (commands) => {
        calls.push(`submit ${commands.join(' ')}`)
        return commands[0] === 0xff ? GpuResponse.ERR_UNSPEC : GpuResponse.OK_NODATA
      },
      createBlob: (request) => {
        const block = heap?.create(request.size)
        return heap && block ? new HostBlob(request, heap, block) : GpuResponse.ERR_OUT_OF_MEMORY
      },
      fence: (ring, reached) => fences.push({ ring, reached }),
      close: () => calls.push('close'),
    }
  }
}
