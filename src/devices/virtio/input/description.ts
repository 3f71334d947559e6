import { ANSWER_BYTES, ConfigSelect } from './protocol.ts'

/** Description of an input device: everything that a driver can read from the configuration space. @virtio 5.8.4 */
export interface InputDescription {
  readonly name: string
  readonly serial: string
  readonly ids: InputIds
  /** INPUT_PROP_* bits. */
  readonly properties: readonly number[]
  /** Codes by event type, of events that the device sends and of status events that it receives; without EV_SYN. */
  readonly events: Readonly<Record<number, readonly number[]>>
  /** Ranges of the EV_ABS codes. */
  readonly axes: Readonly<Record<number, AbsoluteAxis>>
}

interface InputIds {
  readonly bus: number
  readonly vendor: number
  readonly product: number
  readonly version: number
}

interface AbsoluteAxis {
  readonly min: number
  readonly max: number
  readonly fuzz?: number
  readonly flat?: number
  /** Units per millimetre; 0 if unknown. @default 0 */
  readonly resolution?: number
}

/** Returns the key of a query: `select` and `subsel` in one number. */
export function queryKey(select: number, subsel: number): number {
  return (select << 8) | subsel
}

/** Returns the answers to all queries that have one, by `queryKey`. */
export function answers(description: InputDescription): ReadonlyMap<number, Uint8Array> {
  const { name, serial, ids, properties, events, axes } = description
  const found = new Map<number, Uint8Array>()
  const answer = (select: number, subsel: number, bytes: Uint8Array): void => {
    if (bytes.length > ANSWER_BYTES) {
      throw new RangeError(`${name}: an answer must not exceed ${ANSWER_BYTES} bytes (${bytes.length})`)
    }
    if (bytes.length > 0) found.set(queryKey(select, subsel), bytes)
  }
  answer(ConfigSelect.ID_NAME, 0, new TextEncoder().encode(name))
  answer(ConfigSelect.ID_SERIAL, 0, new TextEncoder().encode(serial))
  answer(ConfigSelect.ID_DEVIDS, 0, words(2, [ids.bus, ids.vendor, ids.product, ids.version]))
  answer(ConfigSelect.PROP_BITS, 0, bitmap(properties))
  for (const [type, codes] of Object.entries(events)) answer(ConfigSelect.EV_BITS, Number(type), bitmap(codes))
  for (const [axis, { min, max, fuzz = 0, flat = 0, resolution = 0 }] of Object.entries(axes)) {
    answer(ConfigSelect.ABS_INFO, Number(axis), words(4, [min, max, fuzz, flat, resolution]))
  }
  return found
}

function bitmap(bits: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(bits.length === 0 ? 0 : (Math.max(...bits) >> 3) + 1)
  for (const bit of bits) bytes[bit >> 3] |= 1 << (bit & 7)
  return bytes
}

/** Encodes numbers of `size` bytes each, little-endian. */
function words(size: 2 | 4, values: readonly number[]): Uint8Array {
  return Uint8Array.from({ length: size * values.length }, (_, i) => values[Math.floor(i / size)] >> (8 * (i % size)))
}
