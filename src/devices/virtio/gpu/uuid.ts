import type { RandomSource } from '../../../services/random-source.ts'

/** Returns a random UUID, version 4, as 16 bytes in network byte order. */
export function createUuid(random: RandomSource): Uint8Array {
  const uuid = new Uint8Array(16)
  random.fill(uuid)
  uuid[6] = (uuid[6] & 0x0f) | 0x40
  uuid[8] = (uuid[8] & 0x3f) | 0x80
  return uuid
}
