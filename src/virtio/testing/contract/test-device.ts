import type { SavedState, SavedValue } from '../../../snapshot/saved-state.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { decodeState, encodeState } from '../../../snapshot/state-codec.ts'
import type { VirtioDevice } from '../../device.ts'
import { Feature, featureSet } from '../../feature.ts'
import { difference } from './difference.ts'
import { disturb } from './hostile-driver.ts'
import { mutateState } from './mutate-state.ts'
import { Random } from './random.ts'
import { type MakeDevice, TestGuest } from './test-guest.ts'

export interface DeviceTestOptions<D extends VirtioDevice, H> {
  /** Registers a test: `test` of `node:test`, or of another runner. */
  readonly test: (name: string, body: () => void) => unknown
  /**
   * Performs a random step of the guest or the host. It must not depend on when requests are answered, because answers come
   * earlier if the device is suspended.
   */
  readonly traffic: (guest: TestGuest<D, H>, random: Random) => void
  /** Completes what the host has under way: disk requests, output that it refused. @default nothing is under way */
  readonly finish?: (host: H, device: D) => void
  /** Returns what the device did to its host, to compare. @default nothing */
  readonly observe?: (host: H, device: D) => SavedValue
  /** Seed of all random numbers, which failures name. @default a random one */
  readonly seed?: number
}

/** Ring features that a driver may accept. */
const RINGS = {
  'split rings': 0n,
  'split rings with event indices': featureSet(Feature.EVENT_IDX),
  'packed rings': featureSet(Feature.RING_PACKED),
  'packed rings in order': featureSet(Feature.RING_PACKED, Feature.IN_ORDER, Feature.EVENT_IDX),
}
const ALL_RINGS = featureSet(Feature.RING_RESET)

const RUNS = 8
/** Runs with each kind of ring. */
const RING_RUNS = 3
const STEPS = 80
/** Steps after a reset, which show that the device serves again. */
const STEPS_AFTER = 10
/** Mutations of each saved state. */
const MUTATIONS = 25

/**
 * Registers the tests that every device must pass: life cycle, saved states and hostile drivers.
 *
 *     testDevice((host = new MemoryDisk(new Uint8Array(65536))) => ({ device: new BlockDevice(host), host }), {
 *       test,
 *       traffic: (guest, random) => guest.request(0, [header(BlkType.IN, random.below(128))], [512, 1]),
 *       observe: (disk) => disk.bytes,
 *     })
 *
 * A device is compared with another one that receives the same requests and is left alone, so the traffic need not check
 * answers. Its names of tests begin with the name of the device.
 */
export function testDevice<D extends VirtioDevice, H>(make: MakeDevice<D, H>, options: DeviceTestOptions<D, H>): void {
  const { test, traffic, finish = () => {}, observe = () => null } = options
  const firstSeed = options.seed ?? Math.floor(Math.random() * 2 ** 31)
  const { name } = make().device

  const guestOf = (ring: bigint): TestGuest<D, H> => new TestGuest(make, ring | ALL_RINGS, finish)

  /** Runs `body` with several seeds, and names the seed of a failure. */
  const withSeeds = (body: (random: Random, ring: bigint) => void, runs = RUNS): void => {
    for (let run = 0; run < runs; run++) {
      const seed = firstSeed + run
      try {
        body(new Random(seed), Object.values(RINGS)[run % Object.keys(RINGS).length])
      } catch (error) {
        throw new Error(`with seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        })
      }
    }
  }

  /** Compares a device whose life is disturbed with one that is left alone. */
  const compare = (random: Random, ring: bigint, disturbance: (guest: TestGuest<D, H>) => void): void => {
    const [alone, disturbed] = [guestOf(ring), guestOf(ring)]
    const seed = random.next()
    const steps = [alone, disturbed].map((guest) => {
      const own = new Random(seed)
      guest.start()
      return () => {
        traffic(guest, own)
        guest.turn()
      }
    })
    for (let step = 0; step < STEPS; step++) {
      for (const take of steps) take()
      if (random.oneIn(5)) disturbance(disturbed)
    }
    const [expected, actual] = [alone, disturbed].map((guest) => {
      guest.finish()
      if (guest.unanswered > 0) throw new Error(`${guest.unanswered} requests are not answered`)
      assertHealthy(guest)
      const answers = guest.answers.map((answer) => (answer ? { ...answer } : null))
      return { answers, observed: observe(guest.host, guest.device), state: deviceStateOf(guest) }
    })
    fail(difference(actual, expected, 'the device'))
  }

  for (const [rings, features] of Object.entries(RINGS)) {
    test(`${name}: a device that is replaced by a restored one at any point answers the same, on ${rings}`, () => {
      withSeeds((random) => compare(random, features, (guest) => guest.replace()), RING_RUNS)
    })
  }

  test(`${name}: a suspended device goes on, with all that came meanwhile`, () => {
    withSeeds((random, ring) => {
      const own = new Random(random.next())
      compare(random, ring, (guest) => {
        guest.suspend()
        if (own.oneIn(2)) guest.suspend()
        guest.resume()
      })
    })
  })

  test(`${name}: a queue whose memory moves stops and continues`, () => {
    withSeeds((random, ring) => compare(random, ring, (guest) => guest.remap()))
  })

  test(`${name}: a reset returns to the state before any driver  @virtio 2.4`, () => {
    withSeeds((random, ring) => {
      const guest = guestOf(ring)
      const before = deviceStateOf(guest)
      guest.start()
      for (let step = random.below(STEPS); step > 0; step--) {
        traffic(guest, random)
        if (!random.oneIn(3)) guest.turn()
      }
      guest.reset()
      fail(difference(deviceStateOf(guest), before, 'the state'))
      serveAgain(guest, random)
    })
  })

  test(`${name}: a hostile driver stops at most the device, until a reset`, () => {
    withSeeds((random, ring) => {
      const guest = guestOf(ring)
      guest.hostile = true
      guest.start()
      for (let step = 0; step < STEPS; step++) {
        if (random.oneIn(3)) traffic(guest, random)
        disturb(guest, random)
        guest.turn()
      }
      guest.reset()
      serveAgain(guest, random)
    })
  })

  test(`${name}: inspection returns plain JSON values`, () => {
    withSeeds((random, ring) => {
      const guest = guestOf(ring)
      const inspect = () => fail(notPlain(guest.device.inspect?.() ?? {}, 'inspection'))
      inspect()
      guest.start()
      for (let step = 0; step < STEPS; step++) {
        traffic(guest, random)
        guest.turn()
        inspect()
      }
    })
  })

  test(`${name}: a saved state that was changed is restored or refused as a whole`, () => {
    withSeeds((random, ring) => {
      const guest = guestOf(ring)
      guest.start()
      for (let step = random.below(STEPS); step > 0; step--) {
        traffic(guest, random)
        guest.turn()
      }
      const good = guest.suspend()
      for (let i = 0; i < MUTATIONS; i++) {
        const state = random.oneIn(3) ? corrupt(good, random) : mutateState(decodeState(good), random)
        if (state) restoreChanged(guest.copy(), state, random)
      }
    })
  })

  /** Restores a changed state in a new device, which must then serve, fail or be as new. */
  const restoreChanged = (guest: TestGuest<D, H>, state: SavedState, random: Random): void => {
    const before = deviceStateOf(guest)
    const part = devicePart(state)
    if (part && refuses(() => make().device.restore(part))) {
      if (!refuses(() => restoreWhole(guest, state))) throw new Error('a state with a refused part was restored')
    } else {
      refuses(() => restoreWhole(guest, state))
    }
    guest.hostile = true
    if (guest.state.status === 0) fail(difference(deviceStateOf(guest), before, 'the state after a refusal'))
    guest.finish()
    guest.reset()
    serveAgain(guest, random)
  }

  /** Shows that the device works for a new driver. */
  const serveAgain = (guest: TestGuest<D, H>, random: Random): void => {
    assertHealthy(guest)
    guest.start()
    for (let step = 0; step < STEPS_AFTER; step++) {
      traffic(guest, random)
      guest.turn()
    }
    guest.finish()
    assertHealthy(guest)
    if (guest.unanswered > 0) throw new Error(`${guest.unanswered} requests are not answered after a reset`)
  }
}

function assertHealthy<D extends VirtioDevice, H>(guest: TestGuest<D, H>): void {
  if (guest.exceptions.length > 0) throw new Error(`the device threw: ${guest.exceptions[0]}`)
}

/** Returns the device's own state, as it is restored. */
function deviceStateOf<D extends VirtioDevice, H>(guest: TestGuest<D, H>): SavedValue {
  guest.suspend()
  const state = decodeState(encodeState(guest.device.save()))
  guest.resume()
  return state
}

function restoreWhole<D extends VirtioDevice, H>(guest: TestGuest<D, H>, state: SavedState): void {
  guest.suspend()
  try {
    guest.state.restore(state)
  } finally {
    guest.resume()
  }
}

/** Returns true if `restore` throws a SnapshotError. */
function refuses(restore: () => void): boolean {
  try {
    restore()
    return false
  } catch (error) {
    if (error instanceof SnapshotError) return true
    throw error
  }
}

/** Returns the state of bytes with a few random changes; undefined if they are refused. */
function corrupt(good: Uint8Array, random: Random): SavedState | undefined {
  const bytes = random.oneIn(4) ? good.slice(0, random.below(good.length)) : good.slice()
  for (let i = random.from(1, 6); i > 0; i--) bytes[random.below(bytes.length)] = random.next()
  let state: SavedState | undefined
  refuses(() => {
    state = decodeState(bytes)
  })
  return state
}

/** Returns the device's part of a state of its life cycle, if it looks like one. */
function devicePart(state: SavedState): SavedState | undefined {
  const lifecycle = fieldOf(state, 'lifecycle')
  const device = lifecycle === undefined ? undefined : fieldOf(lifecycle, 'device')
  return device !== undefined && Number.isInteger(fieldOf(device, 'version')) ? (device as SavedState) : undefined
}

function fieldOf(value: SavedValue, name: string): SavedValue | undefined {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as { readonly [name: string]: SavedValue })[name]
}

/** Returns what is not plain JSON in a value, as text; undefined if all is. */
function notPlain(value: unknown, what: string): string | undefined {
  if (value === null || value === undefined || typeof value === 'boolean' || typeof value === 'string') return undefined
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : `${what} is ${value}`
  if (typeof value !== 'object') return `${what} is a ${typeof value}`
  const plain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype
  if (!plain) return `${what} is neither a list nor a plain object`
  for (const [name, item] of Object.entries(value)) {
    const found = notPlain(item, `${what}.${name}`)
    if (found !== undefined) return found
  }
  return undefined
}

function fail(problem: string | undefined): void {
  if (problem !== undefined) throw new Error(problem)
}
