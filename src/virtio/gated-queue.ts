import type { Chain } from '../virtqueue/chain.ts'
import type { DeviceQueue, QueueCounters, QueuePosition } from '../virtqueue/device-queue.ts'

/**
 * Queue with a gate: while it is closed, `pop` returns undefined, but chains in flight can be pushed. A device thus
 * finishes its requests before a reset completes, and starts no new ones.
 */
export class GatedQueue implements DeviceQueue {
  /** Whether chains may be popped. */
  open = false

  constructor(private readonly queue: DeviceQueue) {}

  get index(): number {
    return this.queue.index
  }

  get size(): number {
    return this.queue.size
  }

  get counters(): QueueCounters {
    return this.queue.counters
  }

  get broken(): string | undefined {
    return this.queue.broken
  }

  get position(): QueuePosition {
    return this.queue.position
  }

  get polled(): boolean {
    return this.queue.polled
  }

  set polled(polled: boolean) {
    this.queue.polled = polled
  }

  hasWork(): boolean {
    return this.queue.hasWork()
  }

  pop(): Chain | undefined {
    return this.open ? this.queue.pop() : undefined
  }

  push(chain: Chain, written: number): void {
    this.queue.push(chain, written)
  }

  publish(): void {
    this.queue.publish()
  }

  detach(): void {
    this.open = false
    this.queue.detach()
  }
}
