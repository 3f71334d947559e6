import type { Reader } from '../../../../virtqueue/reader.ts'
import {
  CONTEXT_INIT_CAPSET_ID_MASK,
  CTX_CREATE,
  CTX_RESOURCE,
  GET_CAPSET,
  GET_CAPSET_INFO,
  GpuCommand,
  GpuResponse,
  RESP_CAPSET_INFO,
  SUBMIT_3D,
} from '../protocol.ts'
import type { BlobRequest, HostBlob } from '../resources/host-blob.ts'
import type { Resource } from '../resources/resource.ts'
import type { ResourceTable } from '../resources/resource-table.ts'
import type { ContextHost, RenderContext, Renderer } from './renderer.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY } = GpuResponse
const { ERR_INVALID_CONTEXT_ID, ERR_INVALID_RESOURCE_ID, ERR_INVALID_PARAMETER } = GpuResponse

/** Limit of contexts; each program of the guest that uses the GPU has one. */
const MAX_CONTEXTS = 256
/** Host memory charged for a context in bytes. Its renderer must not keep more. */
const CONTEXT_COST = 128 << 10
/** Host memory charged for a resource that is attached to a context, in bytes. */
const ATTACHMENT_COST = 128
/** Limit of one SUBMIT_3D in bytes; Mesa's drivers send at most about 100 KiB. */
const MAX_COMMANDS = 4 << 20

interface Context {
  readonly capset: number
  /** debug_name of CTX_CREATE, with printable characters only. */
  readonly name: string
  readonly render: RenderContext
  readonly resources: Set<Resource>
}

/** State of a context, as the inspector shows it. */
export type ContextInspection = {
  readonly id: number
  readonly capset: number
  readonly name: string
  readonly resources: number
}

/** Contexts of a driver, by ctx_id, and the commands that use them. @virtio 5.7.6.9 */
export class ContextCommands {
  readonly #contexts = new Map<number, Context>()
  readonly #renderers: readonly Renderer[]
  readonly #host: ContextHost
  readonly #resources: ResourceTable
  /** True if CONTEXT_INIT was negotiated: the driver chooses the capability set of a context. */
  readonly #typed: boolean
  readonly #answer: (payload: Uint8Array) => void
  /** Copy of the current commands, because the guest can change its memory while they are parsed. */
  #commands = new Uint8Array(4096)

  /**
   * @param typed true if CONTEXT_INIT was negotiated
   * @param answer receives the bytes after the header of a response
   */
  constructor(
    renderers: readonly Renderer[],
    host: ContextHost,
    resources: ResourceTable,
    typed: boolean,
    answer: (payload: Uint8Array) => void,
  ) {
    this.#renderers = renderers
    this.#host = host
    this.#resources = resources
    this.#typed = typed
    this.#answer = answer
  }

  /** Executes a command that needs VIRGL. @param id ctx_id of the request's header */
  control(type: number, reader: Reader, id: number): GpuResponse {
    switch (type) {
      case GpuCommand.SUBMIT_3D:
        return this.#submit(reader, id)
      case GpuCommand.CTX_CREATE:
        return this.#create(reader, id)
      case GpuCommand.CTX_DESTROY:
        return this.#destroy(id)
      case GpuCommand.CTX_ATTACH_RESOURCE:
        return this.#attach(reader, id)
      case GpuCommand.CTX_DETACH_RESOURCE:
        return this.#detach(reader, id)
      default:
        return ERR_UNSPEC
    }
  }

  getCapsetInfo(reader: Reader): GpuResponse {
    const capset = this.#renderers[GET_CAPSET_INFO.read(reader)?.index ?? -1]?.capset
    if (!capset) return ERR_INVALID_PARAMETER
    const { id, maxVersion } = capset
    this.#answer(RESP_CAPSET_INFO.encode({ id, maxVersion, maxSize: capset.describe(maxVersion).length }))
    return GpuResponse.OK_CAPSET_INFO
  }

  getCapset(reader: Reader): GpuResponse {
    const request = GET_CAPSET.read(reader)
    const capset = request && this.#renderer(request.id)?.capset
    if (!capset || request.version > capset.maxVersion) return ERR_INVALID_PARAMETER
    this.#answer(capset.describe(request.version))
    return GpuResponse.OK_CAPSET
  }

  /** Creates a blob from an object of the context. @returns the blob, or the error for the driver */
  createBlob(id: number, request: BlobRequest): HostBlob | GpuResponse {
    return this.#contexts.get(id)?.render.createBlob(request) ?? ERR_INVALID_CONTEXT_ID
  }

  /** Calls `reached` when the commands submitted so far are complete. @returns false if they already are */
  fence(id: number, ring: number, reached: () => void): boolean {
    const render = this.#contexts.get(id)?.render
    render?.fence?.(ring, reached)
    return render?.fence !== undefined
  }

  /** Detaches a resource from all contexts, before it is destroyed. */
  detachFromAll(resource: Resource): void {
    for (const context of this.#contexts.values()) this.#detachFrom(context, resource)
  }

  /** Destroys all contexts. */
  release(): void {
    for (const id of this.#contexts.keys()) this.#destroy(id)
  }

  inspect(): ContextInspection[] {
    return [...this.#contexts].map(([id, { capset, name, resources }]) => ({
      id,
      capset,
      name,
      resources: resources.size,
    }))
  }

  #renderer(capset: number): Renderer | undefined {
    return this.#renderers.find((renderer) => renderer.capset.id === capset)
  }

  #create(reader: Reader, id: number): GpuResponse {
    const request = CTX_CREATE.read(reader)
    if (!request || request.nameLength > request.debugName.length) return ERR_INVALID_PARAMETER
    if (id === 0 || this.#contexts.has(id)) return ERR_INVALID_CONTEXT_ID
    const capset = this.#typed ? request.contextInit & CONTEXT_INIT_CAPSET_ID_MASK : 0
    // Without a capability set, the device chooses.
    const renderer = capset === 0 ? this.#renderers[0] : this.#renderer(capset)
    if (!renderer) return ERR_INVALID_PARAMETER
    if (this.#contexts.size >= MAX_CONTEXTS || !this.#resources.charge(CONTEXT_COST)) return ERR_OUT_OF_MEMORY
    this.#contexts.set(id, {
      capset: renderer.capset.id,
      name: printable(request.debugName.subarray(0, request.nameLength)),
      render: renderer.createContext(this.#host),
      resources: new Set(),
    })
    return OK_NODATA
  }

  #destroy(id: number): GpuResponse {
    const context = this.#contexts.get(id)
    if (!context) return ERR_INVALID_CONTEXT_ID
    for (const resource of context.resources) this.#detachFrom(context, resource)
    context.render.close()
    this.#contexts.delete(id)
    this.#resources.refund(CONTEXT_COST)
    return OK_NODATA
  }

  /** Attaching a resource again has no effect: Linux does so when a program opens a buffer twice. */
  #attach(reader: Reader, id: number): GpuResponse {
    const request = CTX_RESOURCE.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const context = this.#contexts.get(id)
    if (!context) return ERR_INVALID_CONTEXT_ID
    const resource = this.#resources.get(request.resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    if (context.resources.has(resource)) return OK_NODATA
    if (!this.#resources.charge(ATTACHMENT_COST)) return ERR_OUT_OF_MEMORY
    context.resources.add(resource)
    context.render.attach(resource)
    return OK_NODATA
  }

  #detach(reader: Reader, id: number): GpuResponse {
    const request = CTX_RESOURCE.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const context = this.#contexts.get(id)
    if (!context) return ERR_INVALID_CONTEXT_ID
    const resource = this.#resources.get(request.resourceId)
    return resource && this.#detachFrom(context, resource) ? OK_NODATA : ERR_INVALID_RESOURCE_ID
  }

  /** @returns true if the resource was attached */
  #detachFrom(context: Context, resource: Resource): boolean {
    if (!context.resources.delete(resource)) return false
    context.render.detach(resource)
    this.#resources.refund(ATTACHMENT_COST)
    return true
  }

  #submit(reader: Reader, id: number): GpuResponse {
    const request = SUBMIT_3D.read(reader)
    if (!request || request.size > reader.remaining) return ERR_INVALID_PARAMETER
    const context = this.#contexts.get(id)
    if (!context) return ERR_INVALID_CONTEXT_ID
    if (request.size > MAX_COMMANDS) return ERR_OUT_OF_MEMORY
    if (request.size > this.#commands.length) this.#commands = new Uint8Array(request.size)
    const commands = this.#commands.subarray(0, request.size)
    reader.read(commands)
    return context.render.submit(commands)
  }
}

/** Returns the name up to the first NUL, with unprintable characters replaced. */
function printable(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
    .replace(/\0.*/s, '')
    .replace(/[^\x20-\x7e]/g, '?')
}
