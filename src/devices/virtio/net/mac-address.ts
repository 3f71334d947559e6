import { ADDRESS_BYTES } from '../../../services/packet.ts'
import type { RandomSource } from '../../../services/random-source.ts'

/** Bits of the first byte of an address: group address (multicast or broadcast), locally administered address. */
const GROUP = 1
const LOCAL = 2

/**
 * Parses the address of one station.
 * @param text for example `52:54:00:12:34:56`
 * @throws {RangeError} if it is malformed, zero, or a group address
 */
export function parseMacAddress(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new RangeError(`'${text}' is not a MAC address such as 52:54:00:12:34:56`)
  }
  const address = Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16))
  if (!isStation(address)) throw new RangeError(`${text} is zero or a group address, not the address of one station`)
  return address
}

export function formatMacAddress(address: Uint8Array): string {
  return Array.from(address, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

/** Returns a locally administered address of one station. */
export function randomMacAddress(random: RandomSource): Uint8Array {
  const address = new Uint8Array(ADDRESS_BYTES)
  random.fill(address)
  address[0] = (address[0] & ~GROUP) | LOCAL
  return address
}

/** True for the address of one station: neither a group address nor zero. */
export function isStation(address: Uint8Array): boolean {
  return (address[0] & GROUP) === 0 && address.some((byte) => byte !== 0)
}

export function isGroup(bytes: Uint8Array): boolean {
  return (bytes[0] & GROUP) !== 0
}

/** Returns the address at the start of `bytes` as a 48-bit number, for comparison. */
export function addressNumber(bytes: Uint8Array): number {
  const high = bytes[0] * 256 + bytes[1]
  return high * 2 ** 32 + (((bytes[2] << 24) | (bytes[3] << 16) | (bytes[4] << 8) | bytes[5]) >>> 0)
}
