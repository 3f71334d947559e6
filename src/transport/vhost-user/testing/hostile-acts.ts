import fc from 'fast-check'
import { FrontEndMessage, type MessageKind } from '../messages.ts'
import { MessageFlag } from '../protocol.ts'
import { encodeMessage } from '../request-stream.ts'
import type { FrontEnd } from './front-end.ts'
import type { GuestSide } from './guest-side.ts'
import { USER_BASE } from './start-ring.ts'

const MEMORY = 1 << 20

/** Number that is often a plausible address, size, index or set of flags. */
const number = fc.oneof(
  fc.nat(2),
  fc.nat(300),
  fc.nat(MEMORY / 16).map((n) => USER_BASE + n * 16),
  fc.nat(MEMORY / 16).map((n) => n * 16),
  fc.constantFrom(MEMORY, 4096, 2 ** 32, 2 ** 53, 0x8000_8000, 0x100),
  fc.maxSafeNat(),
)

/** Payload of words of 4 or 8 bytes, cut to a length that is often valid. */
const payload = fc.tuple(
  fc.array(fc.tuple(number, fc.boolean()), { maxLength: 12 }),
  fc.constantFrom(0, 8, 8, 8, 16, 24, 40, 40, 40, 72, 12, 13),
)

/** Action of a hostile front-end or guest. */
export const hostileAct = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('message' as const),
      kind: fc.nat(44),
      payload,
      fds: fc.array(fc.nat(3), { maxLength: 3 }),
      ack: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bytes' as const), bytes: fc.uint8Array({ maxLength: 40 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('scribble' as const),
      ring: fc.nat(1),
      words: fc.array(fc.tuple(fc.nat(100), fc.nat(0xffff))),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('request' as const), ring: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('kick' as const), ring: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('answer' as const) }) },
)
export type HostileAct = typeof hostileAct extends fc.Arbitrary<infer T> ? T : never

const kinds: readonly MessageKind<unknown, unknown>[] = Object.values(FrontEndMessage)

function wire([words, length]: readonly [readonly (readonly [number, boolean])[], number]): Uint8Array {
  const bytes = new Uint8Array(12 * 8)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const [value, wide] of words) {
    if (wide) view.setBigUint64(at, BigInt(value), true)
    else view.setUint32(at, value, true)
    at += wide ? 8 : 4
  }
  return bytes.subarray(0, length)
}

/** Front-end and guest that perform the actions. */
export interface Target {
  readonly frontEnd: FrontEnd
  readonly guest: GuestSide
  send(ring: number, bytes: readonly number[]): number
  kick(ring: number): void
}

/** Performs an action. @param answer makes the device return the chains that it keeps */
export function perform(target: Target, answer: () => void, what: HostileAct): void {
  const { guest, frontEnd } = target
  if (what.do === 'message') {
    const fds = [
      guest.file.descriptor,
      guest.kicks[0].descriptor,
      guest.calls[0].descriptor,
      guest.errors[0].descriptor,
    ]
    const flags = what.ack ? MessageFlag.NEED_REPLY : 0
    frontEnd.raw(
      encodeMessage(kinds[what.kind].id, flags, wire(what.payload)),
      what.fds.map((i) => fds[i]),
    )
    for (const descriptor of frontEnd.next()?.descriptors ?? []) descriptor.close()
  } else if (what.do === 'bytes') {
    frontEnd.raw(what.bytes)
  } else if (what.do === 'scribble') {
    const { descriptorArea, driverArea } = guest.queues[what.ring].addresses
    const halves = guest.region.u16
    for (const [i, value] of what.words) halves[(i % 2 === 0 ? descriptorArea : driverArea) / 2 + (i >> 1)] = value
  } else if (what.do === 'request') {
    try {
      target.send(what.ring, [1, 2, 3])
    } catch {
      // The queue is full.
    }
  } else if (what.do === 'kick') {
    target.kick(what.ring)
  } else {
    answer()
  }
}

/**
 * Parameters of a fuzz test. A failure prints its seed, which `FUZZ_SEED` repeats; `FUZZ_RUNS` sets the number of runs.
 */
export function fuzzParameters(runs: number): { readonly numRuns: number; readonly seed?: number } {
  const { FUZZ_RUNS, FUZZ_SEED } = process.env
  return { numRuns: Number(FUZZ_RUNS ?? runs), ...(FUZZ_SEED !== undefined && { seed: Number(FUZZ_SEED) }) }
}
