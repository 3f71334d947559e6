import type { GuestMemory } from '../memory/guest-memory.ts'
import type { DeviceQueue } from '../virtqueue/device-queue.ts'
import type { DriverSession } from './device.ts'

/** A driver's time with a device, as a transport makes it: it puts the queues in as the driver enables them. */
export class Session implements DriverSession {
  readonly queues: (DeviceQueue | undefined)[]

  /** @param fail told when the device cannot go on, also by a session that is over */
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
