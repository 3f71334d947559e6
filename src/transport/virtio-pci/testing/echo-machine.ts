import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { EchoClient } from '../../../virtio/testing/echo-client.ts'
import { EchoDevice } from '../../../virtio/testing/echo-device.ts'
import { GuestAllocator } from '../../../virtqueue/driver/index.ts'
import { VirtioPciFunction, type VirtioPciOptions } from '../virtio-pci-function.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const MEMORY_SIZE = 1 << 20

export interface EchoMachineOptions extends Pick<VirtioPciOptions, 'barAddresses'> {
  readonly device?: EchoDevice
  /** Whether the bus has `sendMessage`, and the function thus has MSI-X. @default false */
  readonly messages?: boolean
  /** Machine whose guest memory this one has, and whose driver continues here after a restore. */
  readonly source?: EchoMachine
}

/** Echo device on a bus that records its calls, with guest memory and a driver. */
export class EchoMachine {
  readonly device: EchoDevice
  readonly pci: VirtioPciFunction
  readonly driver: VirtioPciDriver
  readonly region: MemoryRegion
  /** Level of the interrupt pin. */
  asserted = false
  /** Number of changes of the level. */
  edges = 0
  readonly messages: [address: number, data: number][] = []
  /** Number of calls of `barsChanged`. */
  moves = 0
  readonly logged: string[] = []
  readonly #client: EchoClient
  readonly #allocator: GuestAllocator

  constructor(options: EchoMachineOptions = {}) {
    const { source } = options
    this.region = source?.region ?? MemoryRegion.over(0, new Uint8Array(MEMORY_SIZE))
    this.device = options.device ?? new EchoDevice()
    this.pci = new VirtioPciFunction(
      this.device,
      {
        setInterruptLine: (asserted) => {
          this.asserted = asserted
          this.edges++
        },
        barsChanged: () => {
          this.moves++
        },
        ...(options.messages && {
          sendMessage: (address: number, data: number) => {
            this.messages.push([address, data])
          },
        }),
      },
      {
        memory: new GuestMemory([this.region]),
        log: (line) => this.logged.push(line),
        ...(options.barAddresses && { barAddresses: options.barAddresses }),
      },
    )
    this.#allocator = source ? source.#allocator : new GuestAllocator(this.region, 4096)
    this.driver = new VirtioPciDriver(this.pci, this.#allocator)
    if (source) this.driver.queues.push(...source.driver.queues)
    this.#client = new EchoClient(this.#allocator, this.driver.queues, (queue) => this.driver.notify(queue))
    this.driver.enable()
  }

  /** @see EchoClient.send */
  send(queue: number, bytes: readonly number[]): number {
    return this.#client.send(queue, bytes)
  }

  /** @see EchoClient.echo */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    return this.#client.echo(queue, bytes)
  }
}
