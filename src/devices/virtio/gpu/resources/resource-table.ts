import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SurfacePath } from '../../../../services/display.ts'
import { GpuResponse } from '../protocol.ts'
import { backingCost } from './backing.ts'
import type { Resource } from './resource.ts'

/** More than desktops use by far; each may be small, but none is free. */
const MAX_RESOURCES = 16384

/** Only of ways that there are. */
export type PathTotals = Readonly<Partial<Record<SurfacePath, { readonly count: number; readonly bytes: number }>>>

/** The guest's resources by the ids it gave them, and what all that is the guest's costs the host, which is bounded. */
export class ResourceTable {
  readonly #resources = new Map<number, Resource>()
  #hostBytes = 0

  /** @param maxHostBytes what all of them together may make the host hold */
  constructor(readonly maxHostBytes: number) {}

  get count(): number {
    return this.#resources.size
  }

  /** What the host holds for all of them, in bytes. */
  get hostBytes(): number {
    return this.#hostBytes
  }

  /** How many resources and bytes of pictures are had each way. */
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

  /** Whether a new resource may have this id and this cost. */
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

  /** Puts pages behind a resource of this table. */
  attach(resource: Resource, backing: ScatterList): GpuResponse {
    const cost = backingCost(backing)
    if (!this.#affords(cost)) return GpuResponse.ERR_OUT_OF_MEMORY
    resource.attach(backing)
    this.#hostBytes += cost
    return GpuResponse.OK_NODATA
  }

  /** Takes a resource's pages away. */
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

  /** Something else the guest makes the host hold. @returns whether it may */
  charge(bytes: number): boolean {
    if (!this.#affords(bytes)) return false
    this.#hostBytes += bytes
    return true
  }

  /** What was charged is not held any more. */
  refund(bytes: number): void {
    this.#hostBytes -= bytes
  }

  #affords(cost: number): boolean {
    return this.#hostBytes + cost <= this.maxHostBytes
  }
}
