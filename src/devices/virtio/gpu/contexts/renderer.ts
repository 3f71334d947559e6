import type { Rect } from '../../../../services/rect.ts'
import type { GpuResponse } from '../protocol.ts'
import type { BlobRequest, HostBlob } from '../resources/host-blob.ts'
import type { Blob, Resource } from '../resources/resource.ts'

/** Capability set: describes what contexts of this type can do. @virtio 5.7.6.8 GET_CAPSET */
export interface CapabilitySet {
  /** Id of the capability set and type of its contexts: one of `Capset`. */
  readonly id: number
  readonly maxVersion: number
  /** Returns the structure in a version up to `maxVersion`. */
  describe(version: number): Uint8Array
}

/**
 * Renderer: executes the commands of contexts with one capability set: `virgl`, `venus`, `cross-domain`. The device
 * passes the commands on without parsing them.
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

/** Services of the device for its contexts. */
export interface ContextHost {
  /**
   * Exports a blob to other devices and processes of the host, if it is not yet; sets `blob.buffer`.
   * @returns false if it cannot be exported
   */
  share(blob: Blob): boolean
  /**
   * Reports damage to the displays that show a resource, or else to the consumers of its buffer. The rectangle is valid
   * for the call.
   * @returns true if there are any
   */
  present(resource: Resource, rect: Rect): boolean
}

/**
 * One context of a renderer. Its methods must not throw because of guest input.
 *
 * @virtio 5.7.6.9
 */
export interface RenderContext {
  /** Allows commands to name this resource. */
  attach(resource: Resource): void
  /** Ends the use of a resource, which may be destroyed afterwards. */
  detach(resource: Resource): void
  /** Executes commands; the bytes are valid for the call. @returns OK_NODATA, or the error for the driver */
  submit(commands: Uint8Array): GpuResponse
  /** Creates a host blob from an object of the context. @returns the blob, or the error for the driver */
  createBlob(request: BlobRequest): HostBlob | GpuResponse
  /**
   * Calls `reached` when all commands submitted on a ring so far are complete. Without this method, commands are
   * complete when `submit` returns.
   */
  fence?(ring: number, reached: () => void): void
  /**
   * Destroys the context and its objects; resources created from them stay. Fences that were not reached must not be
   * reported afterwards.
   */
  close(): void
}
