import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Interest, type Reactor } from '../../host/linux/reactor/reactor.ts'
import { after, type Pending } from '../../pending/pending.ts'
import type { Lifecycle } from '../../virtio/lifecycle.ts'
import { ringFeatures } from '../../virtio/negotiation.ts'
import type { RingPosition } from '../../virtqueue/device-queue.ts'
import { DESC_TAIL, DESC_WORDS, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_USED } from '../../virtqueue/ring-layout.ts'
import { InflightArea, type InflightDescription } from './inflight/inflight-area.ts'
import { PACKED_LAYOUT, PackedJournal } from './inflight/packed-journal.ts'
import { SPLIT_LAYOUT, SplitJournal } from './inflight/split-journal.ts'
import type { MemoryTable } from './memory-table.ts'
import type { VringAddressMessage } from './messages.ts'
import { VHOST_VRING_F_LOG, VRING_INDEX_MASK, VRING_NO_FD } from './protocol.ts'
import { VhostUserError } from './vhost-user-error.ts'
import { decodeBase, encodeBase, type RingPlace, Vring } from './vring.ts'

/** Events of rings for the owner of the connection. */
export interface RingEvents {
  /** Sends VRING_CALL or VRING_ERR: the ring has no descriptor for it. */
  inBand(what: 'VRING_CALL' | 'VRING_ERR', ring: number): void
  /** A ring opened. */
  opened(): void
  log(line: string): void
}

/** Parts of a reactor that a back-end needs. */
export type RingReactor = Pick<Reactor, 'watch' | 'signal'>

/**
 * Rings of a device: translates the front-end's messages about rings into calls of the life cycle.
 *
 * A ring is served while it is started, enabled, and has addresses in guest memory. Each change of these ends in
 * `settle`, which opens rings and sets gates accordingly.
 */
export class Rings {
  readonly #rings: readonly Vring[]
  #inflight: InflightArea | undefined
  /** Set when a new driver was detected: the device must be reset before the next ring starts. */
  #stale = false
  /** True if ring addresses are guest addresses (GPA_ADDRESSES), false if they are the front-end's. */
  guestAddresses = false

  constructor(
    queueSizes: readonly number[],
    private readonly lifecycle: Lifecycle,
    private readonly table: MemoryTable,
    private readonly reactor: RingReactor,
    private readonly events: RingEvents,
  ) {
    this.#rings = queueSizes.map((size, index) => new Vring(index, size))
  }

  get count(): number {
    return this.#rings.length
  }

  /** All rings, for inspection. */
  get all(): readonly Vring[] {
    return this.#rings
  }

  get live(): boolean {
    return this.#rings.some((ring) => ring.live)
  }

  /** Returns a ring by index. @throws {VhostUserError} if the device has no such ring */
  ring(index: number): Vring {
    const ring = this.#rings[index]
    if (!ring) throw new VhostUserError(`no ring ${index}: the device has ${this.count}`)
    return ring
  }

  setSize(index: number, size: number): void {
    this.#stopped(index).setSize(size)
  }

  setBase(index: number, base: number): void {
    const ring = this.#stopped(index)
    // A stopped ring continues at its position. Another position means that a new driver set it up.
    if (ring.stoppedAt !== undefined && base !== ring.stoppedAt) this.#stale = true
    ring.base = base
  }

  /**
   * Sets the addresses of a ring. While it is served, only its logging may change. The guest chooses the addresses, and
   * the front-end passes them on: if they are not in guest memory, the message is accepted, and the device fails when
   * the ring starts.
   */
  setAddresses(addresses: VringAddressMessage): void | Pending {
    const ring = this.ring(addresses.index)
    const before = ring.addresses
    const { descriptor, available, used } = addresses
    const moved = descriptor !== before?.descriptor || available !== before.available || used !== before.used
    if (ring.live && moved) throw new VhostUserError(`ring ${ring.index} is in use`)
    ring.addresses = addresses
    if (moved) ring.displaced = false
    return this.updateRings()
  }

  setKick(number: number, descriptor: Descriptor | undefined): void | Pending {
    const ring = this.#named(number, descriptor)
    ring.setKick(descriptor, (event) =>
      this.reactor.watch(event.descriptor.fd, () => this.lifecycle.notify(ring.index), Interest.EDGE),
    )
    return this.start(ring.index)
  }

  setCall(number: number, descriptor: Descriptor | undefined): void {
    const ring = this.#named(number, descriptor)
    ring.setCall(descriptor)
    if (ring.live) this.#interrupt(ring)
  }

  setError(number: number, descriptor: Descriptor | undefined): void {
    this.#named(number, descriptor).setError(descriptor)
  }

  /** Starts a ring at its first kick. Each VRING_KICK message notifies it. */
  start(index: number): void | Pending {
    const ring = this.ring(index)
    ring.started = true
    if (ring.live) this.lifecycle.notify(index)
    else return this.updateRings()
  }

  enable(index: number, enabled: boolean): void | Pending {
    this.ring(index).enabled = enabled
    return this.updateRings()
  }

  enableAll(enabled: boolean): void | Pending {
    for (const ring of this.#rings) ring.enabled = enabled
    return this.updateRings()
  }

  /** Stops a ring. @returns its position, or a wait for it while chains are in flight */
  stop(index: number): number | Pending<number> {
    const ring = this.ring(index)
    ring.started = false
    return after(this.#close(ring, true), () => {
      ring.closeKick()
      ring.stoppedAt = ring.base
      return ring.base
    })
  }

  /** Resets the device and the set-up of all rings. Call and error descriptors stay. */
  reset(): void | Pending {
    return after(this.lifecycle.reset(), () => {
      this.#stale = false
      for (const ring of this.#rings) {
        ring.journal?.release()
        this.#forget(ring)
        ring.closeKick()
        ring.started = ring.enabled = ring.loggedRefusal = ring.displaced = false
        ring.addresses = ring.stoppedAt = undefined
        ring.base = 0
      }
    })
  }

  /** Creates an in-flight area. Chains that are in flight now are not recorded in it. */
  createInflight(queues: number, queueSize: number): InflightArea {
    if (queues > this.count)
      throw new VhostUserError(`an in-flight area for ${queues} rings: the device has ${this.count}`)
    return this.#useInflight(InflightArea.create(queues, queueSize, this.#packed ? PACKED_LAYOUT : SPLIT_LAYOUT))
  }

  adoptInflight(descriptor: Descriptor, description: InflightDescription): void {
    this.#useInflight(InflightArea.adopt(descriptor, description))
  }

  /**
   * The memory table changed: rings in removed regions are drained, and continue when their addresses are mapped again.
   */
  memoryChanged(tidy: boolean): void | Pending {
    const { memory } = this.table
    const moved = this.#rings.filter(({ live, place }) => {
      if (!live || !place) return false
      const areas = [place.descriptorArea, place.driverArea, place.deviceArea]
      return tidy || areas.some((address, i) => memory.find(address) !== place.regions[i])
    })
    for (const ring of moved) ring.displaced = true
    return after(this.#closeAll(moved, true), () => {
      if (tidy) this.table.releaseRetired()
      return this.updateRings()
    })
  }

  /** Drains all rings before the back-end closes. The next back-end continues at their positions. */
  drain(): void | Pending {
    for (const ring of this.#rings) ring.started = false
    return this.#closeAll(this.#rings, false)
  }

  /** Opens rings that must be served, and closes the gates of disabled ones. */
  updateRings(): void | Pending {
    const wanted = this.#rings.filter((ring) => ring.started && ring.enabled && ring.addresses && !ring.live)
    const misplaced = wanted.find((ring) => !ring.displaced && ring.addresses && !this.#place(ring.addresses))
    if (misplaced) {
      this.lifecycle.fail(`ring ${misplaced.index}: its addresses are not in guest memory`)
      // The next driver sets other addresses, and the device is reset first.
      this.#stale = true
      return
    }
    const mustReset = this.#stale || (this.lifecycle.session && this.lifecycle.failure !== undefined)
    if (wanted.length > 0 && !this.live && mustReset) {
      const wait = this.lifecycle.reset()
      this.#stale = false
      if (wait) return after(wait, () => this.updateRings())
    }
    for (const ring of this.#rings) {
      if (!ring.live) continue
      const wasOpen = ring.live.open
      this.lifecycle.enable(ring.index, ring.enabled)
      if (!wasOpen) this.lifecycle.notify(ring.index)
    }
    for (const ring of wanted) this.#open(ring)
  }

  /** Serves rings without a kick descriptor. @returns true if there are any: the reactor must not sleep */
  serveWithoutKick(): boolean {
    let any = false
    for (const ring of this.#rings) {
      if (!ring.live?.open || ring.kicked) continue
      this.lifecycle.notify(ring.index)
      any = true
    }
    return any
  }

  /** The device failed: signals the error descriptors. */
  failed(): void {
    for (const ring of this.#rings) {
      if (!ring.started) continue
      if (ring.error) this.reactor.signal(ring.error)
      else this.events.inBand('VRING_ERR', ring.index)
    }
  }

  /** Returns the log address for a guest address in a used ring, if the ring is logged at an address of its own. */
  logAddress(address: number): number | undefined {
    for (const { addresses, place, live } of this.#rings) {
      if (!live || !place || !addresses || (addresses.flags & VHOST_VRING_F_LOG) === 0) continue
      const offset = address - place.deviceArea
      if (offset >= 0 && offset < 6 + 8 * live.size && addresses.log !== place.deviceArea) return addresses.log + offset
    }
    return undefined
  }

  get logged(): boolean {
    return this.#rings.some((ring) => ((ring.addresses?.flags ?? 0) & VHOST_VRING_F_LOG) !== 0)
  }

  /** The connection ended: completions no longer reach the rings. */
  detach(): void {
    this.lifecycle.detach()
    for (const ring of this.#rings) {
      this.#forget(ring)
      ring.started = false
      ring.close()
    }
  }

  close(): void {
    this.#inflight?.close()
    this.#inflight = undefined
  }

  #useInflight(area: InflightArea): InflightArea {
    if (this.live) {
      area.close()
      throw new VhostUserError('rings are in use')
    }
    this.#inflight?.close()
    this.#inflight = area
    return area
  }

  #stopped(index: number): Vring {
    const ring = this.ring(index)
    if (ring.live) throw new VhostUserError(`ring ${index} is in use`)
    return ring
  }

  /** Returns the ring of a message with a descriptor. */
  #named(number: number, descriptor: Descriptor | undefined): Vring {
    if (((number & VRING_NO_FD) === 0) !== (descriptor !== undefined)) {
      throw new VhostUserError(descriptor ? 'unexpected descriptor' : 'the descriptor is missing')
    }
    return this.ring(number & VRING_INDEX_MASK)
  }

  #open(ring: Vring): void {
    const place = ring.addresses && this.#place(ring.addresses)
    if (!place || !this.lifecycle.negotiated) {
      const reason = this.lifecycle.negotiated ? 'its addresses are not in guest memory' : 'no features were set'
      if (!ring.loggedRefusal) this.events.log(`ring ${ring.index} waits: ${reason}`)
      ring.loggedRefusal = true
      return
    }
    if (this.lifecycle.failure !== undefined) return
    const packed = this.#packed
    const base = decodeBase(ring.base, packed, ring.size, usedIndex(place))
    const journal = this.#journal(ring, place, base)
    const live = this.lifecycle.open(ring.index, {
      size: ring.size,
      descriptorArea: place.descriptorArea,
      driverArea: place.driverArea,
      deviceArea: place.deviceArea,
      start: journal?.start ?? base,
      journal,
      interrupt: () => this.#interrupt(ring),
    })
    if (!live || live.broken !== undefined) return
    ring.live = live
    ring.place = place
    ring.journal = journal
    ring.loggedRefusal = false
    const unfinished = journal?.unfinished.length ?? 0
    if (unfinished > 0) this.events.log(`ring ${ring.index}: resuming ${unfinished} requests in flight`)
    this.lifecycle.start()
    this.events.opened()
    // An earlier back-end may have ended between using buffers and interrupting the driver.
    if (ring.call) this.reactor.signal(ring.call)
    this.lifecycle.notify(ring.index)
  }

  #interrupt(ring: Vring): void {
    if (ring.call) this.reactor.signal(ring.call)
    else this.events.inBand('VRING_CALL', ring.index)
  }

  #closeAll(rings: readonly Vring[], release: boolean): void | Pending {
    const close = (wait: void | Pending, ring: Vring) => after(wait, () => this.#close(ring, release))
    return rings.reduce<void | Pending>(close, undefined)
  }

  /**
   * Drains a ring and closes it. It may be opened again at its position.
   * @param release true if the front-end receives the position: the journal is cleared
   */
  #close(ring: Vring, release: boolean): void | Pending {
    const { live } = ring
    if (!live) return
    return after(this.lifecycle.stop(ring.index), () => {
      // A reset ended the ring meanwhile.
      if (ring.live !== live) return
      // Signalled now, not at the end of the turn, because a stopped ring must not interrupt.
      ring.call?.signal()
      ring.base = encodeBase(live.position, this.#packed, live.size)
      if (release && live.position.inFlight === 0) ring.journal?.release()
      this.lifecycle.close(ring.index)
      this.#forget(ring)
    })
  }

  get #packed(): boolean {
    return ringFeatures(this.lifecycle.features).packed
  }

  #forget(ring: Vring): void {
    ring.live = ring.place = ring.journal = undefined
  }

  /** Translates ring addresses. @returns undefined if any is not in guest memory */
  #place({ descriptor, available, used }: VringAddressMessage): RingPlace | undefined {
    const [descriptorArea, driverArea, deviceArea] = [descriptor, available, used].map((address) =>
      this.guestAddresses ? address : this.table.guestAddress(address),
    )
    if (descriptorArea === undefined || driverArea === undefined || deviceArea === undefined) return undefined
    const regions = [descriptorArea, driverArea, deviceArea].map((address) => this.table.memory.find(address))
    return regions.includes(undefined) ? undefined : { descriptorArea, driverArea, deviceArea, regions }
  }

  /** Opens the journal of a ring, if the front-end keeps an in-flight area. */
  #journal(ring: Vring, place: RingPlace, base: RingPosition): SplitJournal | PackedJournal | undefined {
    const area = this.#inflight
    const packed = this.#packed
    const region = area?.region(ring.index, packed ? PACKED_LAYOUT : SPLIT_LAYOUT)
    if (!area || !region) return undefined
    const { queueSize } = area.description
    if (ring.size > queueSize) {
      this.events.log(`ring ${ring.index}: ${ring.size} descriptors exceed the ${queueSize} of the in-flight area`)
      return undefined
    }
    return packed
      ? new PackedJournal(region, ring.size, base, (position) => isAvailable(place, position, ring.size))
      : new SplitJournal(region, ring.size, queueSize, base.used, base.available)
  }
}

/** Returns the used index of a split ring. The result is not used for a packed one. */
function usedIndex({ deviceArea, regions }: RingPlace): number {
  const region = regions[2]
  return region && deviceArea % 4 === 0 ? Atomics.load(region.u16, (deviceArea - region.base) / 2 + 1) : 0
}

/** True if a descriptor of a packed ring is available and not used. */
function isAvailable({ descriptorArea, regions }: RingPlace, position: number, size: number): boolean {
  const region = regions[0]
  const wrapped = position >= size
  const word = descriptorArea - (region?.base ?? 0) + (position % size) * DESC_WORDS * 4 + DESC_TAIL * 4
  const flags = region && word % 4 === 0 ? region.u16[word / 2 + 1] : 0
  return (flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) === (wrapped ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL)
}
