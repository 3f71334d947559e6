import { MemoryDisk } from '../../../../backends/disk/memory-disk.ts'
import type { Disk, DiskOp, DiskRequest } from '../../../../services/disk.ts'

/** Disk for tests that holds requests until `release`, and can fail, grow and shrink. */
export class HeldDisk implements Disk {
  readonly readOnly = false
  readonly canDiscard = true
  byteLength: number
  /** Held requests, oldest first. */
  readonly held: DiskRequest[] = []
  /** Completed requests, in order. */
  readonly done: DiskOp[] = []
  readonly #memory: MemoryDisk

  constructor(readonly bytes: Uint8Array) {
    this.#memory = new MemoryDisk(bytes)
    this.byteLength = this.#memory.byteLength
  }

  submit(request: DiskRequest): void {
    this.held.push(request)
  }

  /** Completes one of the held requests. @default the oldest */
  release(index = 0): void {
    for (const request of this.held.splice(index, 1)) {
      this.done.push(request.op)
      this.#memory.submit(request)
    }
  }

  /** Fails one of the held requests. */
  fail(reason: string, index = 0): void {
    for (const request of this.held.splice(index, 1)) request.complete(reason)
  }

  close(): void {}
}
