import type { GuestMemory } from '../memory/guest-memory.ts'
import type { DeviceQueue } from '../virtqueue/device-queue.ts'
import type { DriverSession } from './device.ts'

/** Session that `DeviceState` creates. It adds the queues to `queues` when the driver enables them. */
export class Session implements DriverSession {
  readonly queues: (DeviceQueue | undefined)[]

  /** @param fail called with each reason for a reset, also after the session ended */
  constructor(
    readonly memory: GuestMemory,
    readonly features: bigint,
    queues: number,
    private readonly fail: (session: Session, reason: string) => void,
  ) {
    this.queues = new Array(queues).fill(undefined)
  }

  needsReset(reason: string): void {
    this.fail(this, reason)
  }
}
