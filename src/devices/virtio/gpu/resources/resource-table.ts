import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SurfacePath } from '../../../../services/display.ts'
import { GpuResponse } from '../protocol.ts'
import { backingCost } from './backing.ts'
import type { Resource } from './resource.ts'

/** Limit of resources, far more than desktops use; each one costs host memory. */
export const MAX_RESOURCES = 16384

/** Counts by path; paths without a resource are left out. */
export type PathTotals = Readonly<Partial<Record<SurfacePath, { readonly count: number; readonly bytes: number }>>>

/** The driver's resources by id, and the bounded host memory that resources and contexts use. */
export class ResourceTable {
  readonly #resources = new Map<number, Resource>()
  #hostBytes = 0

  /** @param maxHostBytes limit of host memory in bytes */
  constructor(readonly maxHostBytes: number) {}

  get count(): number {
    return this.#resources.size
  }

  /** Host memory in use, in bytes. */
  get hostBytes(): number {
    return this.#hostBytes
  }

  /** Number and bytes of resources by path. */
  inspect(): PathTotals {
    const totals: Partial<Record<SurfacePath, { count: number; bytes: number }>> = {}
    for (const { path, byteLength } of this.#resources.values()) {
      const { count, bytes } = totals[path] ?? { count: 0, bytes: 0 }
      totals[path] = { count: count + 1, bytes: bytes + byteLength }
    }
    return totals
  }

  get all(): Iterable<Resource> {
    return this.#resources.values()
  }

  get(id: number): Resource | undefined {
    return this.#resources.get(id)
  }

  /** Checks id and cost of a new resource. @returns OK_NODATA, or the error for the driver */
  admits(id: number, cost: number): GpuResponse {
    if (id === 0 || this.#resources.has(id)) return GpuResponse.ERR_INVALID_RESOURCE_ID
    if (this.count >= MAX_RESOURCES || !this.#affords(cost)) return GpuResponse.ERR_OUT_OF_MEMORY
    return GpuResponse.OK_NODATA
  }

  add(resource: Resource): GpuResponse {
    const admitted = this.admits(resource.id, resource.hostBytes)
    if (admitted !== GpuResponse.OK_NODATA) return admitted
    this.#resources.set(resource.id, resource)
    this.#hostBytes += resource.hostBytes
    return GpuResponse.OK_NODATA
  }

  /** Attaches guest pages to a resource of this table. */
  attach(resource: Resource, backing: ScatterList): GpuResponse {
    const cost = backingCost(backing)
    if (!this.#affords(cost)) return GpuResponse.ERR_OUT_OF_MEMORY
    resource.attach(backing)
    this.#hostBytes += cost
    return GpuResponse.OK_NODATA
  }

  /** Detaches the guest pages of a resource. */
  detach(resource: Resource): void {
    const held = resource.hostBytes
    resource.detach()
    this.#hostBytes -= held - resource.hostBytes
  }

  remove(resource: Resource): void {
    this.#resources.delete(resource.id)
    this.#hostBytes -= resource.hostBytes
    resource.release()
  }

  clear(): void {
    for (const resource of this.#resources.values()) this.remove(resource)
  }

  /** Charges other host memory to the driver. @returns false if that exceeds the limit */
  charge(bytes: number): boolean {
    if (!this.#affords(bytes)) return false
    this.#hostBytes += bytes
    return true
  }

  /** Returns bytes that were charged. */
  refund(bytes: number): void {
    this.#hostBytes -= bytes
  }

  #affords(cost: number): boolean {
    return this.#hostBytes + cost <= this.maxHostBytes
  }
}
