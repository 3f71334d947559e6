import type { GuestAllocator, QueueDriver } from '../../virtqueue/driver/index.ts'

/** The driver's side of an echo device: sends bytes, with as much room for the answer. */
export class EchoClient {
  /**
   * @param queues the driver's side of each queue, as they are set up
   * @param notify tells the device of what was added
   */
  constructor(
    private readonly allocator: GuestAllocator,
    private readonly queues: readonly QueueDriver[],
    private readonly notify: (queue: number) => void,
  ) {}

  /** Sends bytes. @returns where the answer goes */
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

  /** Sends bytes and collects what comes back at once; undefined where nothing does. */
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
