import type { SavedState } from '../../../snapshot/saved-state.ts'
import { elements, integer, list, stateShape } from '../../../snapshot/shape.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import type { DeviceQueue } from '../../../virtqueue/device-queue.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { answers, type InputDescription, queryKey } from './description.ts'
import { EventBacklog, type InputEvent, isEnd, MAX_WAITING } from './event-backlog.ts'
import { EV_KEY } from './event-codes.ts'
import { packEvents, unpackEvents } from './packed-events.ts'
import { CONFIG_ANSWER, CONFIG_BYTES, CONFIG_SELECT, CONFIG_SIZE, CONFIG_SUBSEL, EVENT_BYTES } from './protocol.ts'

const EVENTQ = 0
const STATUSQ = 1
const QUEUE_SIZE = 64

/** Maximum events that are read from one status request. Linux sends one. */
const MAX_STATUS = 64

/** Number of key codes. */
const KEY_COUNT = 0x300

const KEYS = list(integer(0, KEY_COUNT - 1), 0, KEY_COUNT)
/** Frame of events, or its unsent part. */
const EVENTS = elements(Uint32Array, 0, 3 * MAX_WAITING)

const STATE = stateShape('input', 1, {
  select: integer(0, 0xffff),
  begun: EVENTS,
  waiting: list(EVENTS, 0, MAX_WAITING),
  unreleased: KEYS,
  held: KEYS,
})

/** Receives status events of the driver, for example to switch keyboard lights. */
export type StatusListener = (type: number, code: number, value: number) => void

/**
 * Input device: a keyboard, a pointer, or any other device that Linux defines events for.
 *
 *     const device = new InputDevice(description)
 *     device.send([[EV_KEY, KEY_A, 1]])
 *     device.send([[EV_ABS, ABS_X, 100], [EV_ABS, ABS_Y, 200]])        // one frame: the pointer moves once
 *
 * A frame is delivered as a whole: it waits until the driver has made a buffer available for each of its events.
 *
 * @virtio 5.8
 */
export class InputDevice implements VirtioDevice {
  readonly id = DeviceId.INPUT
  readonly name: string
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE]
  readonly features = 0n
  readonly config = new ConfigSpace(CONFIG_BYTES, () => this.#answer())
  readonly #description: InputDescription
  readonly #onStatus: StatusListener
  readonly #answers: ReadonlyMap<number, Uint8Array>
  readonly #backlog = new EventBacklog()
  #session: DriverSession | undefined
  /** Frame of which a part was sent, because it is longer than the queue, and the number of events sent. */
  #begun: readonly InputEvent[] | undefined
  #sent = 0
  /** Buffers popped for the next frame, until there are enough. */
  readonly #buffers: Chain[] = []
  /** Pressed keys, according to the events that the driver received. */
  readonly #held = new Set<number>()
  #frames = 0
  /** Frames dropped because there was no driver, and events that are missing in the description. */
  #unheard = 0
  #unknown = 0
  /** Buffers that are too small for an event. */
  #short = 0
  #statuses = 0
  /** Bytes of status requests that are not a whole event, or exceed `MAX_STATUS` events. */
  #ignoredStatus = 0

  constructor(description: InputDescription, onStatus: StatusListener = () => {}) {
    this.name = description.name
    this.#description = description
    this.#onStatus = onStatus
    this.#answers = answers(description)
  }

  /**
   * Sends one frame of events, and the SYN_REPORT that ends it. Leaves out events that the description does not list,
   * because drivers do not expect them. Drops the frame if there is no driver, because it is not input for a later one.
   */
  send(events: readonly InputEvent[]): void {
    const known = events.filter(([type, code]) => this.#description.events[type]?.includes(code))
    this.#unknown += events.length - known.length
    if (known.length === 0) return
    if (!this.#session) {
      this.#unheard++
      return
    }
    this.#frames++
    this.#backlog.add(known)
    this.#deliver()
  }

  start(session: DriverSession): void {
    this.#session = session
  }

  notify(queue: number): void {
    if (queue === EVENTQ) this.#deliver()
    else if (queue === STATUSQ) this.#receiveStatus()
  }

  reset(): void {
    this.#session = undefined
    this.#buffers.length = 0
    this.#begun = undefined
    this.#sent = 0
    this.#backlog.clear()
    this.#held.clear()
    this.config.view.setUint16(CONFIG_SELECT, 0)
    this.#answer()
  }

  stopQueue(queue: number): void {
    if (queue === EVENTQ) this.#returnBuffers()
  }

  /** Does nothing: events that come meanwhile wait, as they do for buffers. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({
      select: this.config.view.getUint16(CONFIG_SELECT),
      begun: packEvents(this.#begun?.slice(this.#sent) ?? []),
      waiting: this.#backlog.waiting.map(packEvents),
      unreleased: this.#backlog.unreleased,
      held: [...this.#held],
    })
  }

  /** Releases all keys that were held, after the events that wait: nothing says that they are still pressed. */
  restore(state: SavedState): void {
    const { select, begun, waiting, unreleased, held } = STATE.read(state)
    const first = begun.length > 0 ? this.#unpack(begun) : undefined
    const frames = waiting.map((packed) => this.#unpack(packed))
    for (const key of [...unreleased, ...held]) this.#check(EV_KEY, key)
    const pressed = new Set(held)
    for (const event of [...(first ?? []), ...frames.flat()]) follow(pressed, event)
    this.#backlog.restore(frames, [...unreleased, ...pressed])
    this.#begun = first
    this.#sent = 0
    for (const key of held) this.#held.add(key)
    this.config.view.setUint16(CONFIG_SELECT, select)
    this.#answer()
  }

  inspect(): Record<string, unknown> {
    const { count, merged, dropped, releasedLate } = this.#backlog
    return {
      frames: this.#frames,
      waiting: count,
      merged,
      dropped,
      releasedLate,
      unheard: this.#unheard,
      unknown: this.#unknown,
      shortBuffers: this.#short,
      statuses: this.#statuses,
      ignoredStatus: this.#ignoredStatus,
    }
  }

  /**
   * Writes the answer to the query in `select` and `subsel` to the rest of the configuration space. This overwrites
   * anything that the driver wrote there. Size 0 means that there is no answer. @virtio 5.8.5.1, 5.8.5.2
   */
  #answer(): void {
    const { view } = this.config
    const answer = this.#answers.get(queryKey(view.getUint8(CONFIG_SELECT), view.getUint8(CONFIG_SUBSEL)))
    const bytes = new Uint8Array(view.buffer)
    bytes.fill(0, CONFIG_SIZE)
    if (!answer) return
    bytes[CONFIG_SIZE] = answer.length
    bytes.set(answer, CONFIG_ANSWER)
  }

  /** Delivers waiting frames, each when there are buffers for all of its events. @virtio 5.8.6.2 */
  #deliver(): void {
    const queue = this.#session?.queues[EVENTQ]
    if (!queue) return
    for (let frame = this.#begun ?? this.#backlog.first; frame; frame = this.#begun ?? this.#backlog.first) {
      // A frame longer than the queue is sent in parts, because no driver has buffers for all of its events.
      if (!this.#gather(queue, Math.min(frame.length - this.#sent, queue.size))) break
      if (!this.#begun) this.#backlog.shift()
      for (const chain of this.#buffers) {
        const event = frame[this.#sent++]
        const [type, code, value] = event
        follow(this.#held, event)
        chain.writer.u16(type)
        chain.writer.u16(code)
        chain.writer.u32(value)
        queue.push(chain, EVENT_BYTES)
      }
      this.#buffers.length = 0
      this.#begun = this.#sent < frame.length ? frame : undefined
      if (!this.#begun) this.#sent = 0
    }
    queue.publish()
  }

  /**
   * Pops buffers until `#buffers` has `count`.
   * @returns true if the buffers in `#buffers` must be filled now. They may be fewer than `count` if the next one is
   *   too small: with in-order use it cannot be returned before them, so waiting for more could stall the queue
   */
  #gather(queue: DeviceQueue, count: number): boolean {
    while (this.#buffers.length < count) {
      const chain = queue.pop()
      if (!chain) return false
      if (chain.writableLength >= EVENT_BYTES) {
        this.#buffers.push(chain)
      } else {
        this.#short++
        queue.push(chain, 0)
        if (this.#buffers.length > 0) return true
      }
    }
    return true
  }

  #returnBuffers(): void {
    const queue = this.#session?.queues[EVENTQ]
    for (let chain = this.#buffers.pop(); chain; chain = this.#buffers.pop()) {
      if (!queue?.unpop(chain)) queue?.push(chain, 0)
    }
    queue?.publish()
  }

  /** Returns a frame of a saved state. @throws {SnapshotError} if it has no end, or an event is not in the description */
  #unpack(packed: Uint32Array): readonly InputEvent[] {
    const events = unpackEvents(packed)
    if (events.findIndex(isEnd) !== events.length - 1) {
      throw new SnapshotError(`${this.name}: a frame of events must end with its only SYN_REPORT`)
    }
    for (const [type, code] of events.slice(0, -1)) this.#check(type, code)
    return events
  }

  /** @throws {SnapshotError} if the description has no such event */
  #check(type: number, code: number): void {
    if (this.#description.events[type]?.includes(code)) return
    throw new SnapshotError(`${this.name} has no event of type ${type} and code ${code}`)
  }

  #receiveStatus(): void {
    const queue = this.#session?.queues[STATUSQ]
    if (!queue) return
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#readEvents(chain.reader)
      queue.push(chain, 0)
    }
    queue.publish()
  }

  #readEvents(reader: Reader): void {
    for (let i = 0; i < MAX_STATUS && reader.remaining >= EVENT_BYTES; i++) {
      this.#statuses++
      const type = reader.u16()
      const code = reader.u16()
      this.#onStatus(type, code, reader.u32() | 0)
    }
    this.#ignoredStatus += reader.remaining
  }
}

/** Follows which keys are pressed. */
function follow(pressed: Set<number>, [type, code, value]: InputEvent): void {
  if (type !== EV_KEY) return
  if (value !== 0) pressed.add(code)
  else pressed.delete(code)
}
