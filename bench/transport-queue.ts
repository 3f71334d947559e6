import { EventFd } from '../src/host/linux/event-fd.ts'
import { GuestMemory } from '../src/memory/guest-memory.ts'
import { MemoryRegion } from '../src/memory/memory-region.ts'
import { RemoteDriver } from '../src/transport/vhost-user/testing/remote-driver.ts'
import { VirtioPciFunction } from '../src/transport/virtio-pci/virtio-pci-function.ts'
import { Feature, featureSet } from '../src/virtio/feature.ts'
import { GuestAllocator, type Part, type QueueDriver } from '../src/virtqueue/driver/index.ts'
import { echoDevice, processorTime, QUEUE_SIZE, ServerProcess } from './transport-server.ts'
import { startDriver, VfioUserGuest } from './transport-vfio-user.ts'

/** Looks for an interrupt before nobody believes in it any more: some seconds. */
const MAX_LOOKS = 20_000_000
const REQUEST_BYTES = 8

/** A queue of a device that is somewhere, and how both sides tell each other. */
export interface FarQueue {
  readonly driver: QueueDriver
  readonly allocator: GuestAllocator
  notify(): void
  /** Whether the device interrupted since it was asked last. */
  interrupted(): boolean
  /** Nanoseconds of processor time on the device's side. */
  processorTime(): number
  close(): Promise<void>
}

/** The function is called from here: what an engine in this process does, the driver's part too. */
export async function queueInProcess(): Promise<FarQueue> {
  let interrupts = 0
  const region = MemoryRegion.over(0, new Uint8Array(1 << 20))
  const allocator = new GuestAllocator(region, 4096)
  const sendVector = () => {
    interrupts++
    return true
  }
  const memory = new GuestMemory([region])
  const pci = new VirtioPciFunction(echoDevice(), { setInterruptLine() {}, sendVector }, { memory, log: console.error })
  const { driver, notification } = await startDriver(pci, allocator)
  const registers = pci.bars[notification.bar]?.device
  return {
    driver: driver.queues[0],
    allocator,
    notify() {
      registers?.write(notification.offset, 2, 0)
      pci.publish()
    },
    interrupted() {
      const some = interrupts > 0
      interrupts = 0
      return some
    },
    processorTime: () => processorTime(process.pid),
    async close() {},
  }
}

/** Notifications and interrupts are events. */
export async function queueOverVhostUser(): Promise<FarQueue> {
  const server = new ServerProcess('vhost-user')
  const features = featureSet(Feature.EVENT_IDX)
  const remote = await RemoteDriver.start(server.stream, { queues: 1, queueSize: QUEUE_SIZE, features })
  const { queues, kicks, calls, allocator } = remote.guest
  return {
    driver: queues[0],
    allocator,
    notify: () => kicks[0].signal(),
    interrupted: () => calls[0].drain() > 0,
    processorTime: () => server.processorTime,
    async close() {
      remote.close()
      await server.close()
    },
  }
}

/** A notification is a write to a register, which is answered; interrupts are events. */
export async function queueOverVfioUser(): Promise<FarQueue> {
  const server = new ServerProcess('vfio-user')
  const guest = new VfioUserGuest(server.stream)
  const call = EventFd.create('interrupt')
  const { driver, notification } = await startDriver(guest.remote, guest.allocator)
  guest.interruptBy(call)
  const notify = guest.writer(notification.bar, notification.offset, 2)
  return {
    driver: driver.queues[0],
    allocator: guest.allocator,
    notify,
    interrupted: () => call.drain() > 0,
    processorTime: () => server.processorTime,
    async close() {
      guest.close()
      call.close()
      await server.close()
    },
  }
}

/** Sends requests, so many at once, and waits for their answers without sleeping. */
export class QueueLoad {
  readonly #readable: readonly Part[]
  readonly #writable: readonly Part[]

  constructor(private readonly queue: FarQueue) {
    const part = () => ({ address: queue.allocator.allocate(REQUEST_BYTES), length: REQUEST_BYTES })
    this.#readable = [part()]
    this.#writable = [part()]
  }

  run(requests: number, depth: number): void {
    const { driver } = this.queue
    for (let done = 0; done < requests; done += depth) {
      for (let i = 0; i < depth; i++) {
        if (driver.add(this.#readable, this.#writable) < 0) throw new Error('the queue is full')
      }
      if (driver.kick()) this.queue.notify()
      for (let left = depth; left > 0; ) {
        this.#awaitInterrupt()
        do while (driver.collect()) left--
        while (!driver.enableInterrupts())
      }
    }
  }

  #awaitInterrupt(): void {
    for (let looks = 0; !this.queue.interrupted(); looks++) {
      if (looks > MAX_LOOKS) throw new Error('the device does not interrupt')
    }
  }
}
