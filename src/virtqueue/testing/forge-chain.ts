import { DescriptorTable } from '../driver/descriptor-table.ts'
import { PackedDriver } from '../driver/index.ts'
import { DESC_BYTES, VIRTQ_DESC_F_AVAIL, VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_USED } from '../ring-layout.ts'
import type { BarePair } from './bare-pair.ts'

const MARKS = VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED

/** Contents of a descriptor, valid or not. */
export interface Forged {
  readonly address: number
  readonly length: number
  readonly flags?: number
  /** Split rings: value of the `next` field. @default the next descriptor of the chain */
  readonly next?: number
}

/**
 * Adds a chain with the given descriptors. Their flags are written unchanged, except AVAIL and USED of packed rings,
 * which are set correctly. The default of `flags` is NEXT for all but the last descriptor.
 *
 * Must be called before the kick, on a ring of which nothing was collected yet; another request may precede it.
 * @returns the chain's token, and the indices of its descriptors in the ring
 */
export function forgeChain(pair: BarePair, descriptors: readonly Forged[]): { token: number; indices: number[] } {
  const { driver } = pair
  const packed = driver instanceof PackedDriver
  const table = driver.descriptors
  const first = driver.size - driver.free
  const token = driver.add(
    [],
    descriptors.map(() => ({ address: 0, length: 0 })),
  )
  const indices = [packed ? first : token]
  for (let i = 1; i < descriptors.length; i++) indices.push(packed ? first + i : table.tailHigh(indices[i - 1]))
  descriptors.forEach(({ address, length, flags, next }, i) => {
    const following = i + 1 < indices.length ? indices[i + 1] : -1
    const chosen = flags ?? (following < 0 ? 0 : VIRTQ_DESC_F_NEXT)
    table.describe(indices[i], address, length)
    if (packed) table.setTail(indices[i], table.tailLow(indices[i]), chosen | (table.tailHigh(indices[i]) & MARKS))
    else table.setTail(indices[i], chosen, next ?? Math.max(following, 0))
  })
  return { token, indices }
}

/** Writes an indirect table with the given entries. @returns its guest address and its length in bytes */
export function forgeTable(
  pair: BarePair,
  entries: readonly Forged[],
  address = pair.allocator.allocate(entries.length * DESC_BYTES),
): { address: number; length: number } {
  const packed = pair.driver instanceof PackedDriver
  const table = new DescriptorTable(pair.allocator.region, address)
  for (let i = 0; i < entries.length; i++) {
    const last = i + 1 === entries.length
    const { address: target, length, flags = last || packed ? 0 : VIRTQ_DESC_F_NEXT, next = i + 1 } = entries[i]
    table.describe(i, target, length)
    if (packed) table.setTail(i, 0, flags)
    else table.setTail(i, flags, next)
  }
  return { address, length: entries.length * DESC_BYTES }
}
