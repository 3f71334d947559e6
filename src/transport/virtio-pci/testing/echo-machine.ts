import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { GuestAllocator } from '../../../virtqueue/driver/index.ts'
import { VirtioPciFunction, type VirtioPciOptions } from '../virtio-pci-function.ts'
import { EchoDevice } from './echo-device.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const MEMORY_SIZE = 1 << 20

export interface EchoMachineOptions extends Pick<VirtioPciOptions, 'barAddresses'> {
  readonly device?: EchoDevice
  /** Whether the bus carries messages, and so the function has MSI-X. */
  readonly messages?: boolean
}

/** An echo device on a bus that writes down what happens, with memory and a driver. */
export class EchoMachine {
  readonly device: EchoDevice
  readonly pci: VirtioPciFunction
  readonly driver: VirtioPciDriver
  readonly region = MemoryRegion.over(0, new Uint8Array(MEMORY_SIZE))
  /** Level of the interrupt pin, and how often it changed. */
  asserted = false
  edges = 0
  readonly messages: [address: number, data: number][] = []
  /** Calls of `barsChanged`. */
  moves = 0
  readonly logged: string[] = []
  readonly #allocator = new GuestAllocator(this.region, 4096)

  constructor(options: EchoMachineOptions = {}) {
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
    this.driver = new VirtioPciDriver(this.pci, this.#allocator)
    this.driver.enable()
  }

  /** Sends bytes, with as much room for the answer. @returns where the answer goes */
  send(queue: number, bytes: readonly number[]): number {
    const at = this.#allocator.allocate(bytes.length * 2)
    this.region.u8.set(bytes, at)
    this.region.u8.fill(0, at + bytes.length, at + 2 * bytes.length)
    const parts = [
      { address: at, length: bytes.length },
      { address: at + bytes.length, length: bytes.length },
    ]
    this.driver.queues[queue].add([parts[0]], [parts[1]])
    if (this.driver.queues[queue].kick()) this.driver.notify(queue)
    return parts[1].address
  }

  /** Sends bytes and collects what comes back at once; undefined where nothing does. */
  echo(queue: number, bytes: readonly number[]): number[] | undefined {
    const at = this.send(queue, bytes)
    const driver = this.driver.queues[queue]
    if (!driver.collect()) return undefined
    const answer = [...this.region.u8.slice(at, at + driver.written)]
    driver.enableInterrupts()
    this.#allocator.free(at - bytes.length)
    return answer
  }
}
