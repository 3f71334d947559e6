import type { RandomSource } from '../../../services/random-source.ts'

/** A name that nobody else gives to anything: a UUID of version 4, as bytes in the order they are written in. */
export function createUuid(random: RandomSource): Uint8Array {
  const uuid = new Uint8Array(16)
  random.fill(uuid)
  uuid[6] = (uuid[6] & 0x0f) | 0x40
  uuid[8] = (uuid[8] & 0x3f) | 0x80
  return uuid
}
