import type { Descriptor } from '../../host/linux/descriptor.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import type { Closable, Reactor } from '../../host/linux/reactor/reactor.ts'
import { UnixStream } from '../../host/linux/unix-stream.ts'
import type { Connection } from '../../host/socket/connection.ts'
import { type Receiver, StreamConnection } from '../../host/socket/stream-connection.ts'
import { after, type Pending } from '../../pending/pending.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { DeviceGuard } from '../../virtio/device-guard.ts'
import { type DeviceStateInspection, inspectDevice } from '../../virtio/device-inspection.ts'
import { Feature, featureSet, hasFeature } from '../../virtio/feature.ts'
import { Lifecycle } from '../../virtio/lifecycle.ts'
import { DRIVER_STATUS, Status } from '../../virtio/status.ts'
import type { Service } from '../socket/accept-loop.ts'
import { BackendChannel } from './backend-channel.ts'
import { DeviceConfig } from './device-config.ts'
import { AnswerWithDescriptor, Dispatcher, type Handlers } from './dispatcher.ts'
import type { VhostUserExtension } from './extension.ts'
import { MemoryLog } from './memory-log.ts'
import { MAX_SLOTS, MemoryTable } from './memory-table.ts'
import { ObjectExchange } from './object-exchange.ts'
import { ProtocolFeature, VhostFeature, VRING_INDEX_MASK } from './protocol.ts'
import { Rings } from './rings.ts'
import type { Found, SharedObjects } from './shared-objects.ts'
import { SharedRegions } from './shared-regions.ts'
import { vhostFeatures } from './vhost-features.ts'
import { VhostUserError } from './vhost-user-error.ts'

export interface VhostUserBackendOptions {
  readonly log: (line: string) => void
  /** Protocol features that must not be offered, as bits. @default 0n */
  readonly withheld?: bigint
  /** Messages that only this kind of device receives. */
  readonly extension?: VhostUserExtension | undefined
  /** If set, SHARED_OBJECT is offered. A device that only looks up objects passes an empty registry. */
  readonly objects?: SharedObjects | undefined
}

export type BackendReactor = Pick<Reactor, 'watch' | 'signal' | 'timer' | 'onTurn' | 'poll' | 'settle'>

const MIGRATION =
  'a migration began: writes to guest memory are logged. Possible destinations: docs/qemu.md, "Migration"'

/** Maximum number of removed mappings that are kept for chains in flight; one more drains all rings to release them. */
const MAX_RETIRED = 64

/** Status bits of a device with a driver. */
const READY = Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK

const BASIC_FEATURES = featureSet(
  ProtocolFeature.MQ,
  ProtocolFeature.LOG_SHMFD,
  ProtocolFeature.REPLY_ACK,
  ProtocolFeature.BACKEND_REQ,
  ProtocolFeature.BACKEND_SEND_FD,
  ProtocolFeature.INFLIGHT_SHMFD,
  ProtocolFeature.RESET_DEVICE,
  ProtocolFeature.INBAND_NOTIFICATIONS,
  ProtocolFeature.CONFIGURE_MEM_SLOTS,
  ProtocolFeature.STATUS,
  ProtocolFeature.GPA_ADDRESSES,
)

/**
 * Back-end of one vhost-user connection.
 *
 *     const backend = new VhostUserBackend(device, connect, reactor, { log })
 *     await reactor.run()                    // the front-end describes memory and rings, and they are served
 *     await backend.closed                   // the connection ended; the device is reset, and may be served again
 *
 * Every message is checked before it takes effect, and a refused one changes nothing. When the connection ends,
 * completions of chains in flight are not written to the rings. The next back-end finds those chains in the in-flight
 * area.
 */
export class VhostUserBackend implements Service {
  readonly closed: Promise<string | undefined>
  readonly #device: VirtioDevice
  readonly #reactor: BackendReactor
  readonly #options: VhostUserBackendOptions
  readonly #guard: DeviceGuard
  readonly #table: MemoryTable
  readonly #lifecycle: Lifecycle
  readonly #rings: Rings
  readonly #config: DeviceConfig
  readonly #shared: SharedRegions
  readonly #exchange: ObjectExchange | undefined
  readonly #log: MemoryLog
  readonly #dispatcher: Dispatcher
  readonly #hook: Closable
  readonly #poller: Closable
  #channel: BackendChannel | undefined
  /** True after the connection ended. */
  #isLost = false
  #status = 0
  /** True if the configuration changed and CONFIG_CHANGE_MSG is due. */
  #configDue = false
  /** True if the in-flight area was created by this connection. */
  #createdInflight = false
  #finished: (reason: string | undefined) => void = () => {}

  /** @param connect creates the connection, which passes messages to the receiver */
  constructor(
    device: VirtioDevice,
    connect: (receiver: Receiver) => Connection,
    reactor: BackendReactor,
    options: VhostUserBackendOptions,
  ) {
    this.closed = new Promise((resolve) => {
      this.#finished = resolve
    })
    this.#device = device
    this.#reactor = reactor
    this.#options = options
    const log = (line: string) => this.#guard.log(line)
    this.#table = new MemoryTable(log)
    this.#lifecycle = new Lifecycle(device, this.#table.memory, {
      failed: () => this.#rings.failed(),
      // `#turn` publishes once in each turn of the reactor.
      batchEnds: () => {},
      window: (id) => this.#shared.window(id),
      log: options.log,
    })
    this.#guard = this.#lifecycle.guard
    this.#rings = new Rings(device.queueSizes, this.#lifecycle, this.#table, reactor, {
      inBand: (what, index) => {
        if (this.#isInBand) this.#channel?.send(what, { index, num: 0 })
      },
      opened: () => this.#mapShared(),
      log,
    })
    this.#config = new DeviceConfig(device, this.#guard)
    this.#shared = new SharedRegions(device, this.#guard)
    this.#exchange = options.objects && new ObjectExchange(options.objects, reactor, log)
    this.#log = new MemoryLog(this.#table.memory, this.#rings, reactor)
    device.config.onChange = () => {
      this.#configDue = true
    }
    this.#hook = reactor.onTurn(() => this.#turn())
    this.#poller = reactor.poll(this.#lifecycle)
    this.#dispatcher = new Dispatcher(connect, this.#handlers(), {
      reactor,
      lost: (reason) => this.#lost(reason),
      log,
    })
  }

  /**
   * Returns the state of the device. Few front-ends send the whole status: a served ring implies a driver that is
   * ready.
   */
  inspect(): DeviceStateInspection {
    const { session, features } = this.#lifecycle
    const status = this.#status | (session ? READY : 0)
    const offered = vhostFeatures(this.#device)
    return inspectDevice(this.#device, { status, offered, negotiated: features, queues: this.#rings.all })
  }

  /**
   * Looks up an object of another device of the guest, by its UUID of 16 bytes.
   * @param found called within this call or in a later turn; it owns the descriptor
   */
  lookup(uuid: Uint8Array, found: Found): void {
    const guarded: Found = (result) => this.#guard.call('taking a shared object', () => found(result))
    if (this.#exchange) this.#exchange.lookup(uuid, guarded)
    else guarded({ reason: 'shared objects are not offered' })
  }

  close(): void {
    this.#dispatcher.stop(() => this.#rings.drain())
  }

  get #features(): bigint {
    return vhostFeatures(this.#device) | featureSet(VhostFeature.LOG_ALL, VhostFeature.PROTOCOL_FEATURES)
  }

  get #protocolFeatures(): bigint {
    const { CONFIG, SHARED_OBJECT, SHMEM } = ProtocolFeature
    let offered = BASIC_FEATURES & ~(this.#options.withheld ?? 0n)
    if (this.#device.config.size > 0) offered |= featureSet(CONFIG)
    offered |= this.#options.extension?.protocolFeatures ?? 0n
    if (this.#shared.any) offered |= featureSet(SHMEM)
    if (this.#exchange) offered |= featureSet(SHARED_OBJECT)
    return offered
  }

  #handlers(): Handlers {
    const rings = this.#rings
    return {
      GET_FEATURES: () => this.#features,
      SET_FEATURES: (features) => this.#setFeatures(features),
      GET_PROTOCOL_FEATURES: () => this.#protocolFeatures,
      SET_PROTOCOL_FEATURES: (features) => this.#setProtocolFeatures(features),
      SET_OWNER: () => {},
      RESET_OWNER: () => rings.enableAll(false),
      GET_QUEUE_NUM: () => this.#queues,

      SET_MEM_TABLE: ({ elements }, descriptors) => {
        if (elements.length !== descriptors.length) {
          throw new VhostUserError(`${descriptors.length} descriptors for ${elements.length} regions`)
        }
        this.#table.set(elements, descriptors)
        return this.#memoryChanged()
      },
      GET_MAX_MEM_SLOTS: () => MAX_SLOTS,
      ADD_MEM_REG: ({ region }, [descriptor]) => {
        this.#table.add(region, descriptor)
        return this.#memoryChanged()
      },
      REM_MEM_REG: ({ region }, descriptors) => {
        for (const descriptor of descriptors) descriptor.close()
        this.#table.remove(region)
        return this.#memoryChanged()
      },
      SET_LOG_BASE: (area, [descriptor]) => {
        this.#log.setBase(descriptor, area)
        return 0
      },
      SET_LOG_FD: (_, [descriptor]) => this.#log.setEvent(EventFd.fromDescriptor(descriptor)),

      SET_VRING_NUM: ({ index, num }) => rings.setSize(index, num),
      SET_VRING_ADDR: (addresses) => {
        const wait = rings.setAddresses(addresses)
        this.#log.update()
        return wait
      },
      SET_VRING_BASE: ({ index, num }) => rings.setBase(index, num),
      GET_VRING_BASE: ({ index }) => after(rings.stop(index), (num) => ({ index, num })),
      SET_VRING_KICK: (ring, [descriptor]) => {
        if (!descriptor && !this.#isInBand)
          this.#guard.log(`ring ${ring & VRING_INDEX_MASK} has no kick descriptor: busy polling`)
        return rings.setKick(ring, descriptor)
      },
      SET_VRING_CALL: (ring, [descriptor]) => rings.setCall(ring, descriptor),
      SET_VRING_ERR: (ring, [descriptor]) => rings.setError(ring, descriptor),
      SET_VRING_ENABLE: ({ index, num }) => {
        if (num > 1) throw new VhostUserError(`num must be 0 or 1 (${num})`)
        return rings.enable(index, num === 1)
      },
      VRING_KICK: ({ index }) => rings.start(index),

      GET_CONFIG: ({ offset, size, flags }) => ({ offset, size, flags, bytes: this.#config.read(offset, size) }),
      SET_CONFIG: ({ offset, flags, bytes }) => this.#config.write(offset, bytes, flags),
      GET_STATUS: () => this.#status | (this.#lifecycle.failure === undefined ? 0 : Status.DEVICE_NEEDS_RESET),
      SET_STATUS: (status) => this.#setStatus(status),
      RESET_DEVICE: () => this.#reset(),

      GET_INFLIGHT_FD: ({ queues, queueSize }) => {
        this.#createdInflight = true
        const area = rings.createInflight(queues, queueSize)
        return new AnswerWithDescriptor(area.description, area.descriptor)
      },
      SET_INFLIGHT_FD: (description, [descriptor]) => {
        rings.adoptInflight(descriptor, description)
        // Another process may have served this driver, with a different configuration.
        if (!this.#createdInflight) this.#configDue = true
      },
      SET_BACKEND_REQ_FD: (_, [descriptor]) => this.#setChannel(descriptor),
      GET_SHARED_OBJECT: ({ uuid }) => {
        if (!this.#exchange) throw new VhostUserError('not supported')
        return new AnswerWithDescriptor(undefined, this.#exchange.give(uuid))
      },
      GET_SHMEM_CONFIG: () => this.#shared.describe(),
      ...this.#options.extension?.handlers,
    }
  }

  get #queues(): number {
    return Math.floor(this.#rings.count / (this.#options.extension?.ringsPerQueue ?? 1))
  }

  /** Without PROTOCOL_FEATURES, enables all rings. @vhost-user SET_FEATURES */
  #setFeatures(features: bigint): void | Pending {
    // QEMU's GPU sends RING_RESET even if the back-end does not offer it.
    const unknown = features & ~this.#features & ~featureSet(Feature.RING_RESET)
    if (unknown !== 0n) throw new VhostUserError(`features 0x${unknown.toString(16)} are not offered`)
    return after(this.#negotiate(features & vhostFeatures(this.#device)), () => {
      const logsAll = hasFeature(features, VhostFeature.LOG_ALL)
      if (logsAll && !this.#log.all) this.#guard.log(MIGRATION)
      this.#log.all = logsAll
      this.#log.update()
      return hasFeature(features, VhostFeature.PROTOCOL_FEATURES)
        ? this.#rings.updateRings()
        : this.#rings.enableAll(true)
    })
  }

  /** Ends the session of a driver with other features first. @returns a wait, if requests of it were in flight */
  #negotiate(features: bigint): void | Pending {
    const lifecycle = this.#lifecycle
    if (lifecycle.negotiated && features === lifecycle.features) return
    return after(this.#lifecycle.reset(), () => {
      // Every subset is accepted, because the driver cannot see a refusal. A front-end may implement a feature itself
      // that another one depends on (QEMU has the control queue of a network device), and a legacy driver lacks
      // VERSION_1.
      if (!this.#isLost) lifecycle.negotiate(features)
    })
  }

  #setProtocolFeatures(features: bigint): void {
    const unknown = features & ~this.#protocolFeatures
    if (unknown !== 0n) throw new VhostUserError(`protocol features 0x${unknown.toString(16)} are not offered`)
    const { BACKEND_REQ, GPA_ADDRESSES, INBAND_NOTIFICATIONS, REPLY_ACK } = ProtocolFeature
    if (
      hasFeature(features, INBAND_NOTIFICATIONS) &&
      !(hasFeature(features, BACKEND_REQ) && hasFeature(features, REPLY_ACK))
    ) {
      throw new VhostUserError('INBAND_NOTIFICATIONS needs BACKEND_REQ and REPLY_ACK')
    }
    this.#dispatcher.protocolFeatures = features
    this.#rings.guestAddresses = hasFeature(features, GPA_ADDRESSES)
    this.#openExchange()
  }

  /**
   * Adds status bits; 0 clears all. QEMU also sends 0 when it stops the device of a paused machine: if all rings are
   * stopped, the next messages show whether there is a new driver.
   */
  #setStatus(status: number): void | Pending {
    if (status === 0) {
      this.#status = 0
      return this.#rings.live ? this.#reset() : undefined
    }
    const set = status & DRIVER_STATUS
    this.#status |= this.#lifecycle.negotiated ? set : set & ~Status.FEATURES_OK
  }

  #reset(): void | Pending {
    this.#status = 0
    this.#shared.unmapped()
    return after(this.#rings.reset(), () => this.#table.releaseRetired())
  }

  #memoryChanged(): void | Pending {
    return this.#rings.memoryChanged(this.#table.retired > MAX_RETIRED || !this.#lifecycle.session)
  }

  #setChannel(descriptor: Descriptor): void {
    const stream = UnixStream.fromDescriptor(descriptor)
    this.#channel?.close()
    this.#channel = new BackendChannel(
      (receiver) => new StreamConnection(stream, this.#reactor, receiver),
      (line) => this.#guard.log(line),
    )
    this.#mapShared()
    this.#openExchange()
  }

  #mapShared(): void {
    if (!this.#channel || !this.#lifecycle.session || !this.#shared.any) return
    const { BACKEND_SEND_FD, SHMEM } = ProtocolFeature
    if (this.#dispatcher.isNegotiated(SHMEM) && this.#dispatcher.isNegotiated(BACKEND_SEND_FD))
      this.#shared.map(this.#channel)
  }

  #openExchange(): void {
    if (!this.#exchange || !this.#channel || !this.#dispatcher.isNegotiated(ProtocolFeature.SHARED_OBJECT)) return
    if (this.#dispatcher.isNegotiated(ProtocolFeature.REPLY_ACK)) this.#exchange.open(this.#channel)
  }

  get #isInBand(): boolean {
    return this.#dispatcher.isNegotiated(ProtocolFeature.INBAND_NOTIFICATIONS)
  }

  /** Called before each sleep: publishes chains and sends due messages. @returns true if the reactor must not sleep */
  #turn(): boolean {
    const isPolling = !this.#isInBand && this.#rings.serveWithoutKick()
    this.#lifecycle.publish()
    this.#log.signal()
    this.#sendConfigChange()
    return isPolling
  }

  /** Sends CONFIG_CHANGE_MSG if it is due and any ring is served. @vhost-user Suspended device state */
  #sendConfigChange(): void {
    if (!this.#configDue || !this.#channel || !this.#rings.live) return
    this.#configDue = false
    if (this.#dispatcher.isNegotiated(ProtocolFeature.CONFIG)) this.#channel.send('CONFIG_CHANGE_MSG', undefined)
  }

  #lost(reason: string | undefined): void {
    this.#hook.close()
    this.#poller.close()
    this.#device.config.onChange = undefined
    this.#rings.detach()
    this.#exchange?.close()
    this.#channel?.close()
    this.#options.extension?.disconnected?.()
    this.#isLost = true
    after(this.#lifecycle.reset(), () => {
      this.#log.close()
      this.#rings.close()
      this.#table.close()
      this.#finished(reason)
      this.#reactor.settle(this.closed)
    })
  }
}
