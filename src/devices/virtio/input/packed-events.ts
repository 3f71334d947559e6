import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import type { InputEvent } from './event-backlog.ts'

// Event of a saved state: three 32-bit words
//
//   | type | code | value |
//
const EVENT_WORDS = 3

/** Returns events as they are in a saved state. */
export function packEvents(events: readonly InputEvent[]): Uint32Array {
  return Uint32Array.from(events.flat())
}

/** Returns the events of a saved state. @throws {SnapshotError} if the last one is incomplete */
export function unpackEvents(words: Uint32Array): readonly InputEvent[] {
  if (words.length % EVENT_WORDS !== 0) throw new SnapshotError(`${words.length} words are not whole input events`)
  return Array.from({ length: words.length / EVENT_WORDS }, (_, i): InputEvent => {
    const at = i * EVENT_WORDS
    return [words[at], words[at + 1], words[at + 2] | 0]
  })
}
