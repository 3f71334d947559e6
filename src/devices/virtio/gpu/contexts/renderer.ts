import type { Rect } from '../../../../services/rect.ts'
import type { GpuResponse } from '../protocol.ts'
import type { BlobRequest, HostBlob } from '../resources/host-blob.ts'
import type { Blob, Resource } from '../resources/resource.ts'

/** What a kind of context can do, told in a structure of its own. @virtio 5.7.6.8 GET_CAPSET */
export interface CapabilitySet {
  /** Also the type of the contexts that speak it: one of `Capset`. */
  readonly id: number
  readonly maxVersion: number
  /** The structure, as of a version up to `maxVersion`. */
  describe(version: number): Uint8Array
}

/**
 * Executes what programs of the guest send to contexts of one kind: `virgl`, `venus`, `cross-domain`. The GPU finds it by the
 * type of the context, and knows nothing of what it is sent.
 *
 *     const gpu = new GpuDevice(display, { renderers: [new CrossDomainRenderer(heap)] })
 *     // GET_CAPSET      renderer.capset.describe(version)
 *     // CTX_CREATE      const context = renderer.createContext(host)
 *     // SUBMIT_3D       context.submit(commands)
 *     // CTX_DESTROY     context.close()
 */
export interface Renderer {
  readonly capset: CapabilitySet
  createContext(host: ContextHost): RenderContext
}

/** What contexts may ask of the device. */
export interface ContextHost {
  /** Has the host's devices and processes have a blob, if they do not: `blob.buffer` is how. @returns false where they cannot */
  share(blob: Blob): boolean
  /** Tells those who see a resource, or have it, of pixels that changed; the rectangle is lent. @returns whether there are any */
  present(resource: Resource, rect: Rect): boolean
}

/**
 * One context of a renderer. Nothing here may throw because of what a guest sent.
 *
 * @virtio 5.7.6.9
 */
export interface RenderContext {
  /** Its commands may name this resource from now on. */
  attach(resource: Resource): void
  /** They may not any more, and the resource may be about to go. */
  detach(resource: Resource): void
  /** Executes commands; the bytes are lent until it returns. @returns OK_NODATA, or the error the guest gets */
  submit(commands: Uint8Array): GpuResponse
  /** Makes a blob of memory on the host from one of its own objects, or says why not. */
  createBlob(request: BlobRequest): HostBlob | GpuResponse
  /**
   * Calls `reached` once all that was submitted on a ring so far is done. Without it, commands are done when `submit` returns.
   */
  fence?(ring: number, reached: () => void): void
  /** It is gone, with its objects; resources made of them stay. A fence that was not reached never is. */
  close(): void
}
