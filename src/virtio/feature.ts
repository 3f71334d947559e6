/** Device-independent feature bits, as bit numbers. @virtio 6 */
export const Feature = {
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
} as const

/** Number of feature bits. @virtio 2.2 */
const FEATURE_BITS = 128
/** Device-specific feature bits: 0 to 23 and 50 to 127. @virtio 2.2 */
export const DEVICE_FEATURES = (1n << 24n) - 1n + (((1n << 78n) - 1n) << 50n)

/** Returns the set of the given bit numbers. */
export function featureSet(...bits: readonly number[]): bigint {
  return bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n)
}

/** Whether `set` holds bit number `bit`. */
export function hasFeature(set: bigint, bit: number): boolean {
  return ((set >> BigInt(bit)) & 1n) === 1n
}

/**
 * Returns the names of the bits in `set`, lowest first.
 * @param own bit numbers by name of the device type's features
 */
export function featureNames(set: bigint, own: Readonly<Record<string, number>> = {}): string[] {
  const names = new Map([...Object.entries(Feature), ...Object.entries(own)].map(([name, bit]) => [bit, name]))
  const found: string[] = []
  for (let bit = 0; bit < FEATURE_BITS; bit++) {
    if (hasFeature(set, bit)) found.push(names.get(bit) ?? `bit ${bit}`)
  }
  return found
}
