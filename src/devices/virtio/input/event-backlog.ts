import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { EV_ABS, EV_KEY, EV_REL, EV_SYN, SYN_REPORT } from './event-codes.ts'

/** Event of Linux: type, code and value. */
export type InputEvent = readonly [type: number, code: number, value: number]

/** Maximum number of waiting events, including the SYN_REPORT that ends each frame. */
export const MAX_WAITING = 1024

const END: InputEvent = [EV_SYN, SYN_REPORT, 0]

interface Frame {
  /** Events of the frame; the last one is `END`. */
  readonly events: readonly InputEvent[]
  /** True if the frame contains only movement of a pointer. */
  readonly motion: boolean
}

/**
 * Frames of events that wait for a driver: at most `MAX_WAITING` events.
 *
 * When there would be more, frames of movement are dropped first, because later movement replaces them: consecutive
 * ones are merged, then the oldest are dropped. After that, whole new frames are refused. A key that is released in a
 * refused frame is released as soon as there is room, so that no key stays pressed.
 */
export class EventBacklog {
  /** Frames that were merged into the one before, frames that were dropped, and keys that were released late. */
  merged = 0
  dropped = 0
  releasedLate = 0
  #frames: Frame[] = []
  /** Events in `#frames`. */
  #count = 0
  /** Keys whose release was refused. */
  readonly #unreleased = new Set<number>()

  get count(): number {
    return this.#count
  }

  /** Oldest frame; `shift` removes it. */
  get first(): readonly InputEvent[] | undefined {
    return this.#frames[0]?.events
  }

  shift(): void {
    const frame = this.#frames.shift()
    if (frame) this.#count -= frame.events.length
    this.#releaseKeys()
  }

  /** Adds a frame, and appends the SYN_REPORT that ends it. */
  add(events: readonly InputEvent[]): void {
    this.#releaseKeys()
    // Late releases must come before new frames: they would release a key that a new frame presses again.
    if (this.#unreleased.size > 0) {
      this.#refuse(events)
      return
    }
    this.#push(events)
    if (this.#count <= MAX_WAITING) return
    this.#mergeMotion()
    for (let i = 0; this.#count > MAX_WAITING && i < this.#frames.length; ) {
      if (this.#frames[i].motion) this.#drop(i)
      else i++
    }
    if (this.#count > MAX_WAITING) {
      this.#count -= this.#frames.pop()?.events.length ?? 0
      this.#refuse(events)
    }
  }

  /** Frames that wait, oldest first. */
  get waiting(): readonly (readonly InputEvent[])[] {
    return this.#frames.map(({ events }) => events)
  }

  /** Keys whose release was refused. */
  get unreleased(): readonly number[] {
    return [...this.#unreleased]
  }

  /**
   * Adds frames of another backlog, and releases keys after them.
   * @throws {SnapshotError} if there are too many events; nothing is added then
   */
  restore(frames: readonly (readonly InputEvent[])[], keys: readonly number[]): void {
    const count = frames.reduce((sum, events) => sum + events.length, this.#count)
    if (count > MAX_WAITING) throw new SnapshotError(`${count} input events wait, not at most ${MAX_WAITING}`)
    for (const events of frames) this.#push(events.slice(0, -1))
    for (const key of keys) this.#unreleased.add(key)
    this.#releaseKeys()
  }

  clear(): void {
    this.#frames = []
    this.#count = 0
    this.#unreleased.clear()
  }

  #push(events: readonly InputEvent[]): void {
    this.#frames.push({
      events: [...events, END],
      motion: events.every(([type]) => type === EV_ABS || type === EV_REL),
    })
    this.#count += events.length + 1
  }

  #drop(index: number): void {
    this.#count -= this.#frames[index].events.length
    this.#frames.splice(index, 1)
    this.dropped++
  }

  #refuse(events: readonly InputEvent[]): void {
    this.dropped++
    for (const [type, code, value] of events) {
      if (type !== EV_KEY) continue
      if (value === 0) this.#unreleased.add(code)
      else this.#unreleased.delete(code)
    }
  }

  /** Adds a frame that releases the keys in `#unreleased`, if there is room. */
  #releaseKeys(): void {
    const keys = this.#unreleased.size
    if (keys === 0 || this.#count + keys + 1 > MAX_WAITING) return
    this.#push(Array.from(this.#unreleased, (code) => [EV_KEY, code, 0]))
    this.releasedLate += keys
    this.#unreleased.clear()
  }

  #mergeMotion(): void {
    const frames = this.#frames
    this.#frames = []
    this.#count = 0
    for (const frame of frames) {
      const last = this.#frames.at(-1)
      if (last?.motion && frame.motion) {
        this.#frames.pop()
        this.#count -= last.events.length
        this.#push(mergeMotion(last.events, frame.events))
        this.merged++
      } else {
        this.#frames.push(frame)
        this.#count += frame.events.length
      }
    }
  }
}

/** True for the event that ends a frame. */
export function isEnd([type, code]: InputEvent): boolean {
  return type === EV_SYN && code === SYN_REPORT
}

/** Merges two frames of movement: the later position replaces the earlier one, and distances are added. */
function mergeMotion(first: readonly InputEvent[], second: readonly InputEvent[]): InputEvent[] {
  const merged = new Map<number, InputEvent>()
  for (const event of [...first, ...second]) {
    const [type, code, value] = event
    if (type === EV_SYN) continue
    const axis = (type << 16) | code
    const before = merged.get(axis)
    merged.set(axis, before && type === EV_REL ? [type, code, before[2] + value] : event)
  }
  return [...merged.values()]
}
