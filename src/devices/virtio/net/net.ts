import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import type { NetworkPort, PortListener } from '../../../services/network-port.ts'
import { ADDRESS_BYTES, HEADER_BYTES, LEGACY_HEADER_BYTES, MAX_MTU, MIN_MTU } from '../../../services/packet.ts'
import { cryptoRandomSource, type RandomSource } from '../../../services/random-source.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { elements, flag, integer, stateShape } from '../../../snapshot/shape.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, hasFeature } from '../../../virtio/feature.ts'
import { ControlCommands, type ControlTarget } from './control.ts'
import { formatMacAddress, isStation, parseMacAddress, randomMacAddress } from './mac-address.ts'
import {
  FEATURE_DEPENDENCIES,
  netFeatures,
  receiveOffloads,
  transmitOffloads,
  writeAddress,
  writeConfig,
  writeStatus,
} from './net-features.ts'
import { CONFIG_BYTES, CONFIG_MAC, CtrlAck, NetFeature, NetStatus } from './protocol.ts'
import { rarpFrame } from './rarp.ts'
import { FILTER, ReceiveFilter } from './receive-filter.ts'
import { type ReceiveCounters, type ReceiveRules, Receiver } from './receiver.ts'
import { type TransmitCounters, type TransmitRules, Transmitter } from './transmitter.ts'

/** @virtio 5.1.6.5.6 */
const MAX_PAIRS = 0x8000

/** What the driver set. The port, and whether it is connected, belong to the host. */
const STATE = stateShape('net', 1, {
  address: elements(Uint8Array, ADDRESS_BYTES),
  announcing: flag,
  pairs: integer(1, MAX_PAIRS),
  offloads: integer(0, 2 ** 7 - 1),
  filter: FILTER,
})
type SavedNet = ReturnType<(typeof STATE)['read']>

const PACKET_QUEUE_SIZE = 256
const CONTROL_QUEUE_SIZE = 64

export interface NetDeviceOptions {
  /** MAC address, such as `52:54:00:12:34:56`. @default random */
  readonly mac?: string
  /** MTU offered to the driver, at most that of the port. @default the port's */
  readonly mtu?: number
  /** Source of the address if `mac` is missing. @default cryptoRandomSource */
  readonly random?: RandomSource
}

/** Counters since the device was created. */
export interface NetCounters {
  readonly received: ReceiveCounters
  readonly sent: TransmitCounters
  /** Control commands that were executed, and those that were refused. */
  commands: number
  refusedCommands: number
}

/**
 * Network device: an Ethernet card on a port of the host.
 *
 *     const [port, other] = createNetworkLink()
 *     const device = new NetDevice(port, { mac: '52:54:00:12:34:56' })
 *     const rig = activateDevice(device)
 *     rig.send(1, [new Uint8Array(12), frame])           // a header without offloads, then the frame
 *
 * Each pair has a receive queue and a transmit queue. Over the control queue the driver chooses the packets that it
 * receives. Packets move between guest memory and the port without a copy.
 *
 * @virtio 5.1
 */
export class NetDevice implements VirtioDevice {
  readonly id = DeviceId.NETWORK
  readonly name: string
  readonly queueSizes: readonly number[]
  readonly features: bigint
  readonly featureNames = NetFeature
  readonly featureDependencies = FEATURE_DEPENDENCIES
  readonly config = new ConfigSpace(CONFIG_BYTES)
  readonly counters: NetCounters
  readonly #port: NetworkPort
  readonly #mtu: number | undefined
  /** Address given by the host. A driver can set another one, which is valid until a reset. */
  readonly #address: Uint8Array
  readonly #filter = new ReceiveFilter()
  readonly #commands: ControlCommands
  readonly #receivers: readonly Receiver[]
  readonly #transmitters: readonly Transmitter[]
  #session: DriverSession | undefined
  #control: number | undefined
  #receiveRules: ReceiveRules = { headerBytes: HEADER_BYTES, mergeable: false, mtu: undefined, offloads: 0 }
  #transmitRules: TransmitRules = { headerBytes: HEADER_BYTES, offloads: 0, mtu: undefined }
  /** Saved state to apply when the control queue is enabled. */
  #restored: SavedNet | undefined
  /** Number of pairs in use: the first ones. */
  #pairs = 1
  /** Link state that `connect` requested. The link is up if the port's link is up too. */
  #connected = true
  /** True if the driver must announce itself and has not acknowledged that yet. */
  #announcing = false
  /** Link state in the configuration space. */
  #announcedLinkUp: boolean

  constructor(port: NetworkPort, options: NetDeviceOptions = {}) {
    const { pairs } = port
    const { mtu = port.mtu } = options
    const most = Math.min(port.mtu ?? MAX_MTU, MAX_MTU)
    if (mtu !== undefined && !(mtu >= MIN_MTU && mtu <= most)) {
      throw new RangeError(`an MTU of ${mtu} is not from ${MIN_MTU} to ${most}`)
    }
    this.#port = port
    this.#mtu = mtu
    this.#address =
      options.mac === undefined ? randomMacAddress(options.random ?? cryptoRandomSource) : parseMacAddress(options.mac)
    this.name = `net ${formatMacAddress(this.#address)}`
    this.queueSizes = [...new Array<number>(2 * pairs).fill(PACKET_QUEUE_SIZE), CONTROL_QUEUE_SIZE]
    this.features = netFeatures(port, mtu)
    const received = { packets: 0, bytes: 0, merged: 0, filtered: 0, badLength: 0, badHeader: 0, noRoom: 0 }
    const sent = { packets: 0, bytes: 0, badLength: 0, badHeader: 0, linkDown: 0, waits: 0 }
    this.counters = { received: { ...received, starved: 0, badBuffers: 0 }, sent, commands: 0, refusedCommands: 0 }
    const { counters } = this
    this.#receivers = Array.from({ length: pairs }, () => new Receiver(counters.received, this.#filter))
    this.#transmitters = Array.from({ length: pairs }, () => new Transmitter(counters.sent))
    this.#commands = new ControlCommands(this.#filter, this.#controlTarget())
    writeConfig(this.config.view, port, this.#address, mtu)
    writeStatus(this.config.view, this.#status)
    this.#announcedLinkUp = this.linkUp
    port.attach(this.#portListener())
  }

  /** True if both the host's setting (`connect`) and the port's link are up. */
  get linkUp(): boolean {
    return this.#connected && this.#port.linkUp
  }

  /** Sets the link up or down, like plugging or unplugging a network cable. @virtio 5.1.4 */
  connect(connected: boolean): void {
    this.#connected = connected
    this.#linkChanged()
  }

  /**
   * Announces the new location of the station to the network, for example after a migration. The driver sends the
   * announcement if it negotiated GUEST_ANNOUNCE; otherwise the device sends it. @virtio 5.1.6.5.4
   */
  announce(): void {
    const features = this.#session?.features ?? 0n
    if (this.#control !== undefined && hasFeature(features, NetFeature.GUEST_ANNOUNCE)) {
      this.#announcing = true
      this.config.update((view) => writeStatus(view, this.#status))
    } else {
      this.sendRarp(this.#address)
    }
  }

  /** Sends a RARP frame with the station's address as source, so that switches learn its location. */
  sendRarp(address: Uint8Array): void {
    const frame = rarpFrame(address)
    const packet = new SpanList(2)
    packet.add(MemoryRegion.over(0, new Uint8Array(HEADER_BYTES)), 0, HEADER_BYTES)
    packet.add(MemoryRegion.over(0, frame), 0, frame.length)
    if (this.linkUp) this.#port.transmit(0, packet)
  }

  /** Accepts an MTU that a front-end chose. @returns false if frames with this payload cannot be carried */
  setMtu(mtu: number): boolean {
    return mtu >= MIN_MTU && mtu <= (this.#mtu ?? MAX_MTU)
  }

  start(session: DriverSession): void {
    const { features } = session
    this.#session = session
    this.#control = undefined
    const mtu = hasFeature(features, NetFeature.MTU) ? this.#mtu : undefined
    const offloads = receiveOffloads(features)
    const mergeable = hasFeature(features, NetFeature.MRG_RXBUF)
    const headerBytes = mergeable || hasFeature(features, Feature.VERSION_1) ? HEADER_BYTES : LEGACY_HEADER_BYTES
    this.#receiveRules = { headerBytes, mergeable, mtu, offloads }
    this.#transmitRules = { headerBytes, offloads: transmitOffloads(features), mtu }
    this.#pairs = hasFeature(features, NetFeature.MQ) ? this.#port.pairs : 1
    this.#filter.reset(this.#address, true, false)
    this.#takeControl(session)
    if (!this.#port.setReceiveOffloads(offloads)) session.needsReset('the port refuses the negotiated receive offloads')
    else if (!this.#port.setPairs(this.#pairs)) session.needsReset('the port refuses the negotiated number of queues')
  }

  notify(index: number): void {
    if (this.#control === undefined && this.#session) this.#takeControl(this.#session)
    if (index === this.#control) this.#serveCommands()
    else if ((index & 1) === 1) this.#transmit(index >> 1)
    else this.#receiveInto(index >> 1)
  }

  reset(): void {
    this.#session = undefined
    this.#control = undefined
    this.#announcing = false
    this.#restored = undefined
    this.#pairs = 1
    this.#receiveRules.offloads = 0
    this.#filter.reset(this.#address, true, false)
    writeConfig(this.config.view, this.#port, this.#address, this.#mtu)
    writeStatus(this.config.view, this.#status)
  }

  stopQueue(index: number): void {
    if (index === this.#control) return
    if ((index & 1) === 1) this.#transmitters[index >> 1]?.release()
    else this.#receivers[index >> 1]?.release()
  }

  /** Does nothing: without buffers of the driver, packets stay with the port. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    if (this.#restored) return STATE.write(this.#restored)
    const address = Uint8Array.from({ length: ADDRESS_BYTES }, (_, i) => this.config.view.getUint8(CONFIG_MAC + i))
    const { offloads } = this.#receiveRules
    const filter = this.#filter.save()
    return STATE.write({ address, announcing: this.#announcing, pairs: this.#pairs, offloads, filter })
  }

  restore(state: SavedState): void {
    const saved = STATE.read(state)
    const { address, pairs, offloads, announcing } = saved
    if (!isStation(address)) throw new SnapshotError(`${formatMacAddress(address)} is no address of one station`)
    if (pairs > this.#port.pairs)
      throw new SnapshotError(`${pairs} pairs are in use, but the port has ${this.#port.pairs}`)
    if ((offloads & ~this.#port.receiveOffloads) !== 0) {
      throw new SnapshotError(`offloads ${offloads} are in use, but the port has ${this.#port.receiveOffloads}`)
    }
    this.#restored = saved
    this.#announcing = announcing
    writeAddress(this.config.view, address)
    writeStatus(this.config.view, this.#status)
  }

  inspect() {
    return {
      address: formatMacAddress(this.#address),
      linkUp: this.linkUp,
      announcing: this.#announcing,
      pairs: this.#pairs,
      counters: this.counters,
      filter: this.#filter.inspect(),
      receivers: this.#receivers.map((receiver) => receiver.inspect()),
      transmitters: this.#transmitters.map((transmitter) => transmitter.inspect()),
      port: this.#port.inspect?.() ?? {},
    }
  }

  /**
   * Begins to serve the control queue, which may be enabled later than the other queues, and sets the initial state of
   * filters and pairs. Without CTRL_VQ the front-end handles the commands: the device filters nothing and accepts all
   * queue pairs. @virtio 5.1.6.5.2.1, 5.1.6.5.3.1, 5.1.6.5.6.2
   */
  #takeControl(session: DriverSession): void {
    const { features, queues } = session
    if (!hasFeature(features, NetFeature.CTRL_VQ)) {
      this.#restored = undefined
      return
    }
    const index = hasFeature(features, NetFeature.MQ) ? 2 * this.#port.pairs : 2
    if (!queues[index]) return
    this.#control = index
    this.#commands.reset(features)
    const filters = hasFeature(features, NetFeature.CTRL_RX) && hasFeature(features, NetFeature.MAC)
    this.#filter.reset(this.#address, !filters, hasFeature(features, NetFeature.CTRL_VLAN))
    const restored = this.#restored
    this.#restored = undefined
    this.#pairs = restored?.pairs ?? 1
    const fits = this.#port.setPairs(this.#pairs)
    if (restored && !(this.#apply(restored) && fits))
      session.needsReset('the port cannot do what the saved state needs')
  }

  /** @returns false if the port cannot give packets as the saved state has them */
  #apply({ address, offloads, filter }: SavedNet): boolean {
    this.#filter.address = address
    this.#filter.restore(filter)
    if (offloads === this.#receiveRules.offloads) return true
    this.#receiveRules.offloads = offloads
    return this.#port.setReceiveOffloads(offloads)
  }

  get #status(): number {
    return (this.linkUp ? NetStatus.LINK_UP : 0) | (this.#announcing ? NetStatus.ANNOUNCE : 0)
  }

  #linkChanged(): void {
    if (this.linkUp === this.#announcedLinkUp) return
    this.#announcedLinkUp = this.linkUp
    this.config.update((view) => writeStatus(view, this.#status))
    // Without a link, waiting packets of the driver are dropped. With a new link, packets of the port are received.
    for (let pair = 0; pair < this.#pairs; pair++) {
      this.#transmit(pair)
      this.#receive(pair, this.#queueOf(pair))
    }
  }

  #transmit(pair: number): void {
    const queue = this.#session?.queues[2 * pair + 1]
    const transmitter = this.#transmitters[pair]
    if (!queue || !transmitter || pair >= this.#pairs) return
    transmitter.use(queue, this.#transmitRules)
    transmitter.drain(this.#port, pair, this.linkUp)
  }

  /** Receives packets of all pairs that this receive queue serves. Called when it has new buffers. */
  #receiveInto(queue: number): void {
    for (let pair = 0; pair < this.#pairs; pair++) if (this.#queueOf(pair) === queue) this.#receive(pair, queue)
  }

  #receive(pair: number, index: number): void {
    const session = this.#session
    const queue = session?.queues[2 * index]
    if (!session || !queue || !this.linkUp) return
    const receiver = this.#receivers[index]
    receiver.use(queue, session.memory, this.#receiveRules)
    receiver.drain(this.#port, pair)
  }

  /**
   * Returns the index of the pair whose queue receives the packets of `pair`: its own, or the first enabled one while
   * its own is reset. @virtio 5.1.6.5.6.2
   */
  #queueOf(pair: number): number {
    const queues = this.#session?.queues
    if (!queues || queues[2 * pair]) return pair
    for (let other = 0; other < this.#pairs; other++) if (queues[2 * other]) return other
    return pair
  }

  #serveCommands(): void {
    const queue = this.#control === undefined ? undefined : this.#session?.queues[this.#control]
    if (!queue) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      const done = chain.writableLength > 0 && this.#commands.handle(chain.reader)
      if (done) this.counters.commands++
      else this.counters.refusedCommands++
      chain.writer.u8(done ? CtrlAck.OK : CtrlAck.ERR)
      queue.push(chain, chain.writer.written)
    }
    queue.publish()
  }

  /** Returns the part of the device that control commands change. */
  #controlTarget(): ControlTarget {
    return {
      setAddress: (address) => {
        this.#filter.address = address
        // No configuration interrupt: the driver made the change itself. @virtio 5.1.6.5.2.1
        writeAddress(this.config.view, address)
        return true
      },
      acknowledgeAnnouncement: () => {
        this.#announcing = false
        writeStatus(this.config.view, this.#status)
        return true
      },
      setPairs: (count) => this.#setPairs(count),
      setReceiveOffloads: (offloads) => {
        if (!this.#port.setReceiveOffloads(offloads)) return false
        this.#receiveRules.offloads = offloads
        return true
      },
    }
  }

  /** Changes the number of pairs in use. Refused unless all queues of these pairs are enabled. @virtio 5.1.6.5.6.1 */
  #setPairs(count: number): boolean {
    const queues = this.#session?.queues ?? []
    if (count < 1 || count > this.#port.pairs) return false
    for (let index = 0; index < 2 * count; index++) if (!queues[index]) return false
    if (!this.#port.setPairs(count)) return false
    this.#pairs = count
    for (let pair = 0; pair < count; pair++) {
      this.#transmit(pair)
      this.#receive(pair, pair)
    }
    return true
  }

  #portListener(): PortListener {
    return {
      readable: (pair) => {
        if (pair < this.#pairs) this.#receive(pair, this.#queueOf(pair))
      },
      writable: (pair) => this.#transmit(pair),
      linkChanged: () => this.#linkChanged(),
    }
  }
}
