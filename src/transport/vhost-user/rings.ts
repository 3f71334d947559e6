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

/** What rings tell whoever has the way to the front-end. */
export interface RingEvents {
  /** Used buffers of a ring are there, or it failed, and there is no descriptor to say so with. */
  inBand(what: 'VRING_CALL' | 'VRING_ERR', ring: number): void
  /** The first ring is served. */
  opened(): void
  log(line: string): void
}

/** The parts of a reactor that a back-end needs. */
export type RingReactor = Pick<Reactor, 'watch' | 'signal'>

/**
 * All rings of a device, from what the front-end says of them to queues that are served.
 *
 * A ring is served while it is started and enabled, and has addresses that lie in memory. What changes any of that
 * ends in `settle`, which opens what is to be open and closes what is not.
 */
export class Rings {
  readonly #rings: readonly Vring[]
  #inflight: InflightArea | undefined
  /** Set when a new driver was detected: the device must be reset before the next ring starts. */
  #stale = false
  /** Ring addresses are the guest's own. */
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

  /** For people to look at. */
  get all(): readonly Vring[] {
    return this.#rings
  }

  get live(): boolean {
    return this.#rings.some((ring) => ring.live)
  }

  /** A ring by number. @throws {VhostUserError} where the device has no such */
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
    // A ring goes on where it stopped. One that does not was set up anew, by a driver that began anew.
    if (ring.stoppedAt !== undefined && base !== ring.stoppedAt) this.#stale = true
    ring.base = base
  }

  /**
   * A ring that is served keeps its place; only whether it is logged may change. The guest chooses the addresses, and the
   * front-end only passes them on: if they are not in memory, the message is accepted, and the device fails when the ring
   * starts.
   */
  setAddresses(addresses: VringAddressMessage): void | Pending {
    const ring = this.ring(addresses.index)
    const before = ring.addresses
    const { descriptor, available, used } = addresses
    const moved = descriptor !== before?.descriptor || available !== before.available || used !== before.used
    if (ring.live && moved) throw new VhostUserError(`ring ${ring.index} is in use`)
    ring.addresses = addresses
    if (moved) ring.displaced = false
    return this.settle()
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

  /** The ring's first kick, and each that comes as a message. */
  start(index: number): void | Pending {
    const ring = this.ring(index)
    ring.started = true
    if (ring.live) this.lifecycle.notify(index)
    else return this.settle()
  }

  enable(index: number, enabled: boolean): void | Pending {
    this.ring(index).enabled = enabled
    return this.settle()
  }

  enableAll(enabled: boolean): void | Pending {
    for (const ring of this.#rings) ring.enabled = enabled
    return this.settle()
  }

  /** Stops a ring when nothing of it is in flight. @returns where it stands, or a wait for that */
  stop(index: number): number | Pending<number> {
    const ring = this.ring(index)
    ring.started = false
    return after(this.#close(ring, true), () => {
      ring.closeKick()
      ring.stoppedAt = ring.base
      return ring.base
    })
  }

  /** Forgets the driver and how it set the rings up. Descriptors to call it with stay. */
  reset(): void | Pending {
    return after(this.resetDevice(), () => {
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

  /** A new area for what is in flight. What is in flight now is not in it. */
  createInflight(queues: number, queueSize: number): InflightArea {
    if (queues > this.count) throw new VhostUserError(`an area for ${queues} rings of ${this.count}`)
    return this.#useInflight(InflightArea.create(queues, queueSize, this.#packed ? PACKED_LAYOUT : SPLIT_LAYOUT))
  }

  adoptInflight(descriptor: Descriptor, description: InflightDescription): void {
    this.#useInflight(InflightArea.adopt(descriptor, description))
  }

  /** Memory is other memory from now on: rings that lay in what is gone are drained, and go on in what there is. */
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
      return this.settle()
    })
  }

  /** Takes what is in flight to its end, for a back-end that leaves: whoever comes next serves the rings from there. */
  drain(): void | Pending {
    for (const ring of this.#rings) ring.started = false
    return this.#closeAll(this.#rings, false)
  }

  /** Opens what is to be served, closes the gates of what is not. */
  settle(): void | Pending {
    const wanted = this.#rings.filter((ring) => ring.started && ring.enabled && ring.addresses && !ring.live)
    const misplaced = wanted.find((ring) => !ring.displaced && ring.addresses && !this.#place(ring.addresses))
    if (misplaced) {
      this.lifecycle.fail(`ring ${misplaced.index}: its addresses are not in memory`)
      // The next driver gives other addresses, and finds no failure.
      this.#stale = true
      return
    }
    const over = this.#stale || (this.lifecycle.active && this.lifecycle.failure !== undefined)
    if (wanted.length > 0 && !this.live && over) {
      const wait = this.resetDevice()
      this.#stale = false
      if (wait) return after(wait, () => this.settle())
    }
    for (const ring of this.#rings) {
      if (!ring.live) continue
      this.lifecycle.enable(ring.index, ring.enabled)
      this.lifecycle.notify(ring.index)
    }
    for (const ring of wanted) this.#open(ring)
  }

  /** Makes visible what was used. To be called before each sleep. */
  publish(): void {
    this.lifecycle.publish()
  }

  /** Looks at rings that have no descriptor to tell with. @returns whether there are any: nobody may sleep */
  lookAtUntold(): boolean {
    let any = false
    for (const ring of this.#rings) {
      if (!ring.live?.open || ring.kicked) continue
      this.lifecycle.notify(ring.index)
      any = true
    }
    return any
  }

  /** The device failed. */
  failed(): void {
    for (const ring of this.#rings) {
      if (!ring.started) continue
      if (ring.error) this.reactor.signal(ring.error)
      else this.events.inBand('VRING_ERR', ring.index)
    }
  }

  /** Where the log has the used ring that holds a guest address, if it is to be logged elsewhere as well. */
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

  /** The front-end is gone: from now on nothing reaches its memory's rings. */
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

  /** The ring that a message about a descriptor is about. */
  #named(number: number, descriptor: Descriptor | undefined): Vring {
    if (((number & VRING_NO_FD) === 0) !== (descriptor !== undefined)) {
      throw new VhostUserError(descriptor ? 'a descriptor where it says there is none' : 'no descriptor')
    }
    return this.ring(number & VRING_INDEX_MASK)
  }

  #open(ring: Vring): void {
    const place = ring.addresses && this.#place(ring.addresses)
    const why =
      (this.lifecycle.negotiated ? undefined : 'no features were set') ??
      (place ? undefined : 'its addresses are not in memory')
    if (!place || why !== undefined) {
      if (!ring.loggedRefusal) this.events.log(`ring ${ring.index} waits: ${why}`)
      ring.loggedRefusal = true
      return
    }
    const packed = this.#packed
    const base = decodeBase(ring.base, packed, ring.size, usedIndex(place))
    const journal = this.#journal(ring, place, base)
    if (this.lifecycle.failure !== undefined) return
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
    if (unfinished > 0) this.events.log(`ring ${ring.index}: ${unfinished} in flight are served again`)
    this.lifecycle.start()
    this.events.opened()
    // Whoever served the ring before may have ended between using buffers and saying so.
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
   * Drains a ring and takes it from the device; it could be opened again where it stands.
   * @param release whether its journal is to say nothing of it any more, as the front-end is told where it stands
   */
  #close(ring: Vring, release: boolean): void | Pending {
    const { live } = ring
    if (!live) return
    return after(this.lifecycle.stop(ring.index), () => {
      // The device may have been reset meanwhile, and the ring with it.
      if (ring.live !== live) return
      // Now, not at the end of the turn: nothing is said any more once the front-end knows that the ring has stopped.
      ring.call?.signal()
      ring.base = encodeBase(live.position, this.#packed, live.size)
      if (release && live.position.inFlight === 0) ring.journal?.release()
      this.lifecycle.close(ring.index)
      this.#forget(ring)
    })
  }

  /** Ends the driver's session. @returns a wait, if something was in flight */
  resetDevice(): void | Pending {
    if (!this.lifecycle.active) this.lifecycle.failure = undefined
    else return this.lifecycle.reset()
  }

  get #packed(): boolean {
    return ringFeatures(this.lifecycle.features).packed
  }

  #forget(ring: Vring): void {
    ring.live = ring.place = ring.journal = undefined
  }

  /** @returns undefined where any of the addresses is nowhere */
  #place({ descriptor, available, used }: VringAddressMessage): RingPlace | undefined {
    const [descriptorArea, driverArea, deviceArea] = [descriptor, available, used].map((address) =>
      this.guestAddresses ? address : this.table.guestAddress(address),
    )
    if (descriptorArea === undefined || driverArea === undefined || deviceArea === undefined) return undefined
    const regions = [descriptorArea, driverArea, deviceArea].map((address) => this.table.memory.find(address))
    return regions.includes(undefined) ? undefined : { descriptorArea, driverArea, deviceArea, regions }
  }

  /** What is in flight of a ring, where the front-end keeps that. */
  #journal(ring: Vring, place: RingPlace, base: RingPosition): SplitJournal | PackedJournal | undefined {
    const area = this.#inflight
    const packed = this.#packed
    const region = area?.region(ring.index, packed ? PACKED_LAYOUT : SPLIT_LAYOUT)
    if (!area || !region) return undefined
    const { queueSize } = area.description
    if (ring.size > queueSize) {
      this.events.log(`ring ${ring.index} of ${ring.size} does not fit an area for in-flight requests of ${queueSize}`)
      return undefined
    }
    return packed
      ? new PackedJournal(region, ring.size, base, (position) => isAvailable(place, position, ring.size))
      : new SplitJournal(region, ring.size, queueSize, base.used, base.available)
  }
}

/** The used index of a split ring; of a packed one it means nothing. */
function usedIndex({ deviceArea, regions }: RingPlace): number {
  const region = regions[2]
  return region && deviceArea % 4 === 0 ? Atomics.load(region.u16, (deviceArea - region.base) / 2 + 1) : 0
}

/** Whether a packed ring's descriptor is one the driver made available and the device did not use. */
function isAvailable({ descriptorArea, regions }: RingPlace, position: number, size: number): boolean {
  const region = regions[0]
  const wrapped = position >= size
  const word = descriptorArea - (region?.base ?? 0) + (position % size) * DESC_WORDS * 4 + DESC_TAIL * 4
  const flags = region && word % 4 === 0 ? region.u16[word / 2 + 1] : 0
  return (flags & (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED)) === (wrapped ? VIRTQ_DESC_F_USED : VIRTQ_DESC_F_AVAIL)
}
