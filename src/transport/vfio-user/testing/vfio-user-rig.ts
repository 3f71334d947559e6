import { EventFd } from '../../../host/linux/event-fd.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import { socketPair } from '../../../host/linux/unix-stream.ts'
import type { MemoryRegion } from '../../../memory/memory-region.ts'
import type { VirtioDevice } from '../../../virtio/device.ts'
import { EchoClient } from '../../../virtio/testing/echo-client.ts'
import { GuestAllocator } from '../../../virtqueue/driver/index.ts'
import { HandReactor } from '../../socket/testing/hand-reactor.ts'
import { VirtioPciDriver } from '../../virtio-pci/testing/virtio-pci-driver.ts'
import { VirtioPciFunction } from '../../virtio-pci/virtio-pci-function.ts'
import { type IrqIndex, IrqSet } from '../protocol.ts'
import { type MakeFunction, VfioUserServer } from '../vfio-user-server.ts'
import { Client } from './client.ts'
import { RemoteFunction } from './remote-function.ts'

export const MEMORY_BYTES = 1 << 20
/** DMA_MAP flags: READ and WRITE. */
const READ_WRITE = 3

/** Capabilities that QEMU sends. */
const CAPABILITIES = { capabilities: { max_msg_fds: 16, max_data_xfer_size: 1 << 20, write_multiple: true } }

export function versionRequest(json: string = JSON.stringify(CAPABILITIES), major = 0, minor = 0) {
  return { major, minor, bytes: new TextEncoder().encode(`${json}\0`) }
}

/** Returns the factory of a virtio device's PCI function. */
export function virtioFunction(device: VirtioDevice, log: (line: string) => void): MakeFunction {
  return (bus, memory) => new VirtioPciFunction(device, bus, { memory, log })
}

/**
 * Server with a function, client, and guest memory that both share. Uses real descriptors and a `HandReactor`.
 *
 *     const rig = new VfioUserRig(virtioFunction(new EchoDevice(), log))
 *     await rig.start()
 *     rig.echo(0, [1, 2])      // 1, 2
 *     await rig.close()
 */
export class VfioUserRig {
  readonly reactor = new HandReactor()
  readonly server: VfioUserServer
  readonly client: Client
  readonly file = MemoryFile.create('guest memory', MEMORY_BYTES)
  readonly region: MemoryRegion
  readonly logged: string[] = []
  closed = false
  readonly #mapping = Mapping.of(this.file.descriptor, { offset: 0, length: MEMORY_BYTES })
  readonly #allocator: GuestAllocator
  readonly #events: EventFd[] = []
  #driver: VirtioPciDriver | undefined
  #echoes: EchoClient | undefined

  constructor(make: MakeFunction) {
    this.region = this.#mapping.regions(0)[0]
    this.#allocator = new GuestAllocator(this.region, 4096)
    const [ours, theirs] = socketPair('a connection')
    this.server = new VfioUserServer(make, theirs, this.reactor, { log: (line) => this.logged.push(line) })
    void this.server.closed.then(() => {
      this.closed = true
    })
    this.client = new Client(ours, () => this.reactor.turn())
  }

  /** Driver of the function. @throws {Error} before `plug` */
  get driver(): VirtioPciDriver {
    if (!this.#driver) throw new Error('call plug first')
    return this.#driver
  }

  /** Negotiates the version. */
  greet(): void {
    this.client.ask('VERSION', versionRequest())
  }

  /** Maps the guest memory, or part of it, and shares it. */
  map(address = 0, size = MEMORY_BYTES, flags = READ_WRITE): void {
    const range = { argsz: 32, flags, offset: address, address, size }
    this.client.ask('DMA_MAP', range, [this.file.descriptor])
  }

  unmap(address = 0, size = MEMORY_BYTES): void {
    this.client.ask('DMA_UNMAP', { argsz: 24, flags: 0, address, size })
  }

  /** Creates events for the first `count` interrupts of an index. */
  listen(index: IrqIndex, count: number): EventFd[] {
    const events = Array.from({ length: count }, (_, i) => EventFd.create(`interrupt ${i}`))
    this.#events.push(...events)
    this.setIrqs(IrqSet.DATA_EVENTFD | IrqSet.ACTION_TRIGGER, index, 0, count, events)
    return events
  }

  setIrqs(flags: number, index: IrqIndex, start: number, count: number, events: readonly EventFd[] = []): void {
    const request = { argsz: 20, flags, index, start, count, bytes: new Uint8Array(0) }
    this.client.ask(
      'DEVICE_SET_IRQS',
      request,
      events.map(({ descriptor }) => descriptor),
    )
  }

  /** Negotiates the version, maps the memory and enables the function. @returns its driver */
  plug(): VirtioPciDriver {
    this.greet()
    this.map()
    const driver = new VirtioPciDriver(new RemoteFunction(this.client), this.#allocator)
    driver.enable()
    this.#driver = driver
    this.#echoes = new EchoClient(this.#allocator, driver.queues, (queue) => driver.notify(queue))
    return driver
  }

  /** Calls `plug` and starts the device with its queues. @param features besides VERSION_1 */
  async start(features = 0n): Promise<void> {
    await this.plug().start(features)
  }

  /** @see EchoClient.send */
  send(queue: number, bytes: readonly number[]): number {
    if (!this.#echoes) throw new Error('call plug first')
    return this.#echoes.send(queue, bytes)
  }

  /** @see EchoClient.echo */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    return this.#echoes?.echo(queue, bytes)
  }

  /** Closes the client's connection, and waits until the server has handled it. */
  async hangUp(): Promise<void> {
    this.client.close()
    await this.reactor.idle()
  }

  /** Closes client, events and memory. */
  async close(): Promise<void> {
    await this.hangUp()
    for (const event of this.#events) event.close()
    this.#mapping.close()
  }
}
