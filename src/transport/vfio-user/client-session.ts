import { Errno } from '../../host/linux/errno.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { Connection } from '../../host/socket/connection.ts'
import type { Receiver } from '../../host/socket/stream-connection.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { PciFunction } from '../../pci/pci-function.ts'
import { after, type Pending } from '../../pending/pending.ts'
import type { Service } from '../socket/accept-loop.ts'
import { AnswerWithDescriptor, Dispatcher, type Handlers } from './dispatcher.ts'
import { DmaLog } from './dma-log.ts'
import { DmaMessages } from './dma-messages.ts'
import { DmaTable } from './dma-table.ts'
import type { ClientInterrupts } from './interrupts.ts'
import { type FeatureMessage, loggingReport, loggingStart, type RequestOf } from './messages.ts'
import { DeviceFeature, DeviceFlag, FEATURE_MASK, FeatureFlag, IRQS, REGIONS, UNMAP_ALL } from './protocol.ts'
import { RegionAccess } from './region-access.ts'
import { regionInfo } from './region-info.ts'
import { agree, maxTransfer } from './version.ts'
import { VfioUserError } from './vfio-user-error.ts'

/** Payload bytes of DEVICE_GET_INFO and DEVICE_GET_IRQ_INFO, and of DEVICE_FEATURE before its data. */
const DEVICE_INFO_BYTES = 16
const IRQ_INFO_BYTES = 16
const FEATURE_BYTES = 8
const UNMAP_BYTES = 24

/** PCI function that a client uses, with its interrupts and memory. */
export interface ServedFunction {
  readonly pci: PciFunction
  readonly interrupts: ClientInterrupts
  /** Guest memory, described by the client with DMA_MAP. */
  readonly memory: GuestMemory
}

export type SessionReactor = Pick<Reactor, 'settle' | 'timer'>

/**
 * Connection of one client to a PCI function. When it ends, the function is reset and all resources of the client are
 * released.
 */
export class ClientSession implements Service {
  readonly closed: Promise<string | undefined>
  readonly #served: ServedFunction
  readonly #reactor: SessionReactor
  readonly #table: DmaTable
  readonly #messages: DmaMessages
  readonly #dirty: DmaLog
  readonly #regions: RegionAccess
  readonly #dispatcher: Dispatcher
  #finished: (reason: string | undefined) => void = () => {}

  /** @param connect creates the connection, which passes received bytes to the receiver */
  constructor(
    served: ServedFunction,
    connect: (receiver: Receiver) => Connection,
    reactor: SessionReactor,
    log: (line: string) => void,
  ) {
    this.closed = new Promise((resolve) => {
      this.#finished = resolve
    })
    this.#served = served
    this.#reactor = reactor
    this.#messages = new DmaMessages(served.memory, {
      send: (command, id, payload) => this.#dispatcher.command(command, id, payload),
      settle: (promise) => reactor.settle(promise),
      fail: (reason) => this.#dispatcher.ended(reason),
      log,
    })
    this.#table = new DmaTable(served.memory, this.#messages, log)
    this.#dirty = new DmaLog(served.memory)
    this.#regions = new RegionAccess(served.pci)
    this.#dispatcher = new Dispatcher(connect, this.#handlers(), this.#regions, {
      reactor,
      lost: (reason) => this.#lost(reason),
      log,
      answered: (message) => this.#messages.take(message),
    })
  }

  close(): void {
    this.#dispatcher.stop(() => this.#reset())
  }

  #handlers(): Handlers {
    const { interrupts } = this.#served
    let agreed = false
    return {
      VERSION: (request) => {
        if (agreed) throw new VfioUserError(Errno.EINVAL, 'the version was already negotiated')
        const answer = agree(request)
        this.#messages.limit(maxTransfer(request))
        agreed = true
        return answer
      },
      DMA_MAP: (range, [descriptor]) => {
        this.#table.map(range, descriptor)
        return this.#memoryChanged()
      },
      DMA_UNMAP: (request) => this.#unmap(request),
      DEVICE_GET_INFO: ({ argsz }) => {
        expectRoom(argsz, DEVICE_INFO_BYTES)
        const flags = DeviceFlag.RESET | DeviceFlag.PCI
        return { argsz: DEVICE_INFO_BYTES, flags, regions: REGIONS, irqs: IRQS, bytes: NOTHING }
      },
      DEVICE_GET_REGION_INFO: (request) => {
        const { answer, fd } = regionInfo(this.#regions, request)
        return fd === undefined ? answer : new AnswerWithDescriptor(answer, fd)
      },
      DEVICE_GET_IRQ_INFO: ({ argsz, index }) => {
        expectRoom(argsz, IRQ_INFO_BYTES)
        if (index >= IRQS) throw new VfioUserError(Errno.EINVAL, `no interrupt index ${index}`)
        const [flags, count] = [interrupts.flags(index), interrupts.count(index)]
        return { argsz: IRQ_INFO_BYTES, flags, index, count, bytes: NOTHING }
      },
      DEVICE_SET_IRQS: (request, descriptors) => interrupts.set(request, descriptors),
      DEVICE_RESET: () => this.#reset(),
      DEVICE_FEATURE: (request) => this.#feature(request),
    }
  }

  #unmap(request: RequestOf<'DMA_UNMAP'>): RequestOf<'DMA_UNMAP'> | Pending<RequestOf<'DMA_UNMAP'>> {
    const { argsz, flags, address, size } = request
    expectRoom(argsz, UNMAP_BYTES)
    const all = flags === UNMAP_ALL
    if ((flags !== 0 && !all) || (all && (address !== 0 || size !== 0))) {
      throw new VfioUserError(Errno.EINVAL, `invalid flags 0x${flags.toString(16)}`)
    }
    if (all) this.#table.unmapAll()
    else this.#table.unmap(address, size)
    // The client waits for our reply, and answers no commands meanwhile.
    if (all) this.#messages.forget()
    else this.#messages.forget(address, size)
    return after(this.#memoryChanged(), () => request)
  }

  #memoryChanged(): void | Pending {
    const removed = this.#table.isRetiring
    return after(this.#served.pci.memoryChanged?.(removed), () => {
      if (removed) this.#table.releaseRetired()
    })
  }

  /**
   * Resets the function. Drops DMA messages first, because the client does not answer them while it waits for the
   * reset.
   */
  #reset(): void | Pending {
    this.#messages.forget()
    return this.#served.pci.reset()
  }

  /** @vfio-user DEVICE_FEATURE */
  #feature(request: FeatureMessage): FeatureMessage {
    const { argsz, flags, bytes } = request
    expectRoom(argsz, FEATURE_BYTES)
    const feature = flags & FEATURE_MASK
    const { GET, SET, PROBE } = FeatureFlag
    const action = flags & (GET | SET | PROBE)
    const allowed =
      feature === DeviceFeature.DMA_LOGGING_REPORT
        ? GET
        : feature === DeviceFeature.DMA_LOGGING_START || feature === DeviceFeature.DMA_LOGGING_STOP
          ? SET
          : 0
    if (allowed === 0) throw new VfioUserError(Errno.EOPNOTSUPP, `unknown feature ${feature}`)
    if ((action & (GET | SET) & ~allowed) !== 0 || (action !== allowed && (action & PROBE) === 0)) {
      throw new VfioUserError(Errno.EINVAL, `invalid flags 0x${flags.toString(16)}`)
    }
    if ((action & PROBE) !== 0) return { ...request, argsz: FEATURE_BYTES, bytes: NOTHING }
    const data = this.#logging(feature, bytes, argsz - FEATURE_BYTES)
    return { ...request, argsz: FEATURE_BYTES + data.length, bytes: data }
  }

  #logging(feature: number, bytes: Uint8Array, room: number): Uint8Array {
    if (feature === DeviceFeature.DMA_LOGGING_STOP) {
      this.#dirty.stop()
      return bytes
    }
    if (feature === DeviceFeature.DMA_LOGGING_START) {
      const start = loggingStart.parse(bytes)
      return loggingStart.write({ ...start, pageSize: this.#dirty.start(start.pageSize) })
    }
    const { address, length, pageSize } = loggingReport.parse(bytes)
    if (Math.ceil(length / pageSize / 8) + bytes.length > room) {
      throw new VfioUserError(Errno.EINVAL, `argsz is too small for a report of ${length} bytes`)
    }
    return loggingReport.write({ address, length, pageSize, bytes: this.#dirty.report(address, length, pageSize) })
  }

  #lost(reason: string | undefined): void {
    const { pci, interrupts } = this.#served
    interrupts.disconnect()
    this.#messages.close()
    after(pci.reset(), () => {
      this.#dirty.stop()
      this.#table.close()
      this.#finished(reason)
      this.#reactor.settle(this.closed)
    })
  }
}

const NOTHING = new Uint8Array(0)

function expectRoom(argsz: number, bytes: number): void {
  if (argsz < bytes) throw new VfioUserError(Errno.EINVAL, `argsz must be at least ${bytes} (${argsz})`)
}
