import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { EV_ABS, EV_KEY, EV_REL, EV_SYN, SYN_REPORT } from './event-codes.ts'

/** Type, code and value, as in Linux. */
export type InputEvent = readonly [type: number, code: number, value: number]

/** Events that wait, those that end frames among them. */
export const MAX_WAITING = 1024

const END: InputEvent = [EV_SYN, SYN_REPORT, 0]

interface Frame {
  /** The last one is `END`. */
  readonly events: readonly InputEvent[]
  /** Nothing but a pointer's movement. */
  readonly motion: boolean
}

/**
 * Frames of events that wait for a driver: at most `MAX_WAITING` events, whatever comes.
 *
 * Where there are more, movement gives way first, since the next movement says it better: frames of it that follow each
 * other become one, then the oldest go. Then new frames are refused, whole; but a key that was released in one of them
 * is released as soon as there is room, so that none stays pressed.
 */
export class EventBacklog {
  /** Frames that became part of another, that were lost, and keys that were released late. */
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

  /** The next frame, which stays until it is shifted. */
  get first(): readonly InputEvent[] | undefined {
    return this.#frames[0]?.events
  }

  shift(): void {
    const frame = this.#frames.shift()
    if (frame) this.#count -= frame.events.length
    this.#release()
  }

  /** Adds a frame, and ends it. */
  add(events: readonly InputEvent[]): void {
    this.#release()
    // What was refused comes first: a key pressed again now would be released by it.
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
    this.#release()
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

  /** Releases the keys that are owed it, if there is room. */
  #release(): void {
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

/** Movement that ends where both, one after the other, end: positions are the later ones, distances add up. */
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
