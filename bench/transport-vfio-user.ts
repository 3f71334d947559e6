import type { EventFd } from '../src/host/linux/event-fd.ts'
import { Mapping } from '../src/host/linux/mapping.ts'
import { MemoryFile } from '../src/host/linux/memory-file.ts'
import { systemCall } from '../src/host/linux/system-call.ts'
import { END, type UnixStream } from '../src/host/linux/unix-stream.ts'
import type { MemoryRegion } from '../src/memory/memory-region.ts'
import { CapabilityId } from '../src/pci/capability.ts'
import type { PciFunction } from '../src/pci/pci-function.ts'
import { encodeMessage } from '../src/transport/vfio-user/command-stream.ts'
import { ClientCommand, type RequestOf } from '../src/transport/vfio-user/messages.ts'
import { IrqIndex, IrqSet } from '../src/transport/vfio-user/protocol.ts'
import { Client } from '../src/transport/vfio-user/testing/client.ts'
import { RemoteFunction } from '../src/transport/vfio-user/testing/remote-function.ts'
import { versionRequest } from '../src/transport/vfio-user/testing/vfio-user-rig.ts'
import { VirtioPciDriver } from '../src/transport/virtio-pci/testing/virtio-pci-driver.ts'
import { Feature, featureSet } from '../src/virtio/feature.ts'
import { Status } from '../src/virtio/status.ts'
import { GuestAllocator } from '../src/virtqueue/driver/index.ts'

const MEMORY_BYTES = 1 << 20
const POLLIN = 1
const TIMEOUT_MS = 10_000
const MSIX_ENABLE = 0x8000
const VECTOR = 0
const NOTIFY_CFG = 2
const NOTHING = new Uint8Array(0)

const poll = systemCall<[descriptors: Int32Array, count: number, timeout: number]>(
  'int poll(void *descriptors, uint64_t count, int timeout)',
)

/**
 * Has a function's first queue served, with MSI-X.
 * @param features besides VERSION_1 and EVENT_IDX
 * @returns the driver, and where it notifies
 */
export async function startDriver(pci: PciFunction, allocator: GuestAllocator, features = 0n) {
  const driver = new VirtioPciDriver(pci, allocator)
  driver.enable()
  const msix = driver.capabilities.find(({ id }) => id === CapabilityId.MSIX)
  if (!msix) throw new Error('the function has no MSI-X')
  pci.configWrite(msix.at + 2, 2, MSIX_ENABLE)
  await driver.negotiate(features | featureSet(Feature.VERSION_1, Feature.EVENT_IDX))
  driver.setUpQueue(0, 0, VECTOR)
  driver.set('device_status', driver.get('device_status') | Status.DRIVER_OK)
  return { driver, notification: driver.capability(NOTIFY_CFG) }
}

/** A monitor, and the memory of its guest. */
export class VfioUserGuest {
  readonly client: Client
  readonly remote: RemoteFunction
  readonly allocator: GuestAllocator
  readonly #mapping: Mapping

  constructor(private readonly stream: UnixStream) {
    this.client = new Client(stream, () =>
      poll('waiting for the server', Int32Array.of(stream.fd, POLLIN), 1, TIMEOUT_MS),
    )
    this.client.ask('VERSION', versionRequest())
    const { descriptor } = MemoryFile.create('guest memory', MEMORY_BYTES)
    const range = { argsz: 32, flags: 3, offset: 0, address: 0, size: MEMORY_BYTES }
    this.client.ask('DMA_MAP', range, [descriptor])
    this.#mapping = Mapping.of(descriptor, { offset: 0, length: MEMORY_BYTES })
    const [region]: MemoryRegion[] = this.#mapping.regions(0)
    this.allocator = new GuestAllocator(region, 4096)
    this.remote = new RemoteFunction(this.client)
  }

  /** Has the vector that is used signal an event. */
  interruptBy(event: EventFd): void {
    const flags = IrqSet.DATA_EVENTFD | IrqSet.ACTION_TRIGGER
    const request = { argsz: 20, flags, index: IrqIndex.MSIX, start: VECTOR, count: 1, bytes: NOTHING }
    this.client.ask('DEVICE_SET_IRQS', request, [event.descriptor])
  }

  /** @returns what reads some bytes of a region, over and over */
  reader(region: number, offset: number, count: number): () => void {
    return this.#exchange('REGION_READ', { offset, region, count })
  }

  /** @returns what writes zeroes to a region, over and over */
  writer(region: number, offset: number, count: number): () => void {
    return this.#exchange('REGION_WRITE', { offset, region, count, bytes: new Uint8Array(count) })
  }

  /** Maps a region as a monitor does, into the guest. */
  map(index: number): Mapping {
    const info = { argsz: 32, flags: 0, index, capOffset: 0, size: 0, offset: 0, bytes: NOTHING }
    const { value, descriptors } = this.client.ask('DEVICE_GET_REGION_INFO', info)
    return Mapping.of(descriptors[0], { offset: value.offset, length: value.size })
  }

  close(): void {
    this.client.close()
    this.#mapping.close()
  }

  #exchange<N extends 'REGION_READ' | 'REGION_WRITE'>(name: N, request: RequestOf<N>): () => void {
    const kind = ClientCommand[name]
    const payload = (kind.request.write as (value: RequestOf<N>) => Uint8Array)(request)
    return exchange(this.stream, encodeMessage({ id: 1, command: kind.id, flags: 0, error: 0 }, payload))
  }
}

/** @returns what sends a message and waits for its answer, which is short, without sleeping */
export function exchange(stream: UnixStream, message: Uint8Array): () => void {
  return () => {
    stream.send(message)
    let received = stream.receive()
    while (received === undefined) received = stream.receive()
    if (received === END) throw new Error('the server is gone')
  }
}
