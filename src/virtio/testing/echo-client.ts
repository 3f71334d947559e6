import type { GuestAllocator, QueueDriver } from '../../virtqueue/driver/index.ts'

/** Driver of an echo device: sends bytes, with a writable part of the same length for the reply. */
export class EchoClient {
  /**
   * @param queues the driver's side of each queue, filled as queues are set up
   * @param notify notifies the device
   */
  constructor(
    private readonly allocator: GuestAllocator,
    private readonly queues: readonly QueueDriver[],
    private readonly notify: (queue: number) => void,
  ) {}

  /** Sends bytes. @returns the guest address of the reply */
  send(queue: number, bytes: readonly number[]): number {
    const { u8 } = this.allocator.region
    const length = bytes.length
    const at = this.allocator.allocate(length * 2)
    u8.set(bytes, at)
    u8.fill(0, at + length, at + 2 * length)
    const driver = this.queues[queue]
    if (driver.add([{ address: at, length }], [{ address: at + length, length }]) < 0) throw new Error('queue full')
    if (driver.kick()) this.notify(queue)
    return at + length
  }

  /** Sends bytes and collects the reply; undefined if the device did not reply within `notify`. */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    const at = this.send(queue, bytes)
    const driver = this.queues[queue]
    if (!driver.collect()) return undefined
    const answer = [...this.allocator.region.u8.slice(at, at + driver.written)]
    driver.enableInterrupts()
    this.allocator.free(at - bytes.length)
    return answer
  }
}
