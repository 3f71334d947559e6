import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { EventBacklog, type InputEvent, MAX_WAITING } from './event-backlog.ts'
import { ABS_X, ABS_Y, EV_ABS, EV_KEY, EV_REL, EV_SYN, REL_WHEEL } from './event-codes.ts'

const END: InputEvent = [EV_SYN, 0, 0]
const press = (code: number): InputEvent => [EV_KEY, code, 1]
const release = (code: number): InputEvent => [EV_KEY, code, 0]

/** Removes up to `most` frames. */
function drain(backlog: EventBacklog, most = Number.POSITIVE_INFINITY): InputEvent[][] {
  const frames: InputEvent[][] = []
  for (let frame = backlog.first; frame && frames.length < most; frame = backlog.first) {
    frames.push([...frame])
    backlog.shift()
  }
  return frames
}

/** Fills a backlog completely with frames that are not motion. */
function full(): EventBacklog {
  const backlog = new EventBacklog()
  for (let i = 0; backlog.count < MAX_WAITING; i++) backlog.add([i % 2 === 0 ? press(1) : release(1)])
  return backlog
}

test('frames are delivered in order, each with its SYN_REPORT', () => {
  const backlog = new EventBacklog()
  backlog.add([press(30)])
  backlog.add([
    [EV_ABS, ABS_X, 1],
    [EV_ABS, ABS_Y, 2],
  ])
  backlog.add([release(30)])
  assert.equal(backlog.count, 7)
  assert.deepEqual(drain(backlog), [
    [press(30), END],
    [[EV_ABS, ABS_X, 1], [EV_ABS, ABS_Y, 2], END],
    [release(30), END],
  ])
  assert.equal(backlog.count, 0)
})

test('excess movement is merged, and ends at the same position', () => {
  const backlog = new EventBacklog()
  let wheel = 0
  for (let i = 0; i < 10_000; i++) {
    if (i % 3 === 0) {
      wheel += i % 5
      backlog.add([[EV_REL, REL_WHEEL, i % 5]])
    } else backlog.add([[EV_ABS, i % 3 === 1 ? ABS_X : ABS_Y, i]])
    assert.ok(backlog.count <= MAX_WAITING)
  }
  const events = drain(backlog).flat()
  const sum = (code: number) =>
    events.filter((event) => event[0] === EV_REL && event[1] === code).reduce((total, event) => total + event[2], 0)
  assert.equal(sum(REL_WHEEL), wheel)
  assert.equal(events.findLast((event) => event[0] === EV_ABS && event[1] === ABS_X)?.[2], 9997)
  assert.equal(events.findLast((event) => event[0] === EV_ABS && event[1] === ABS_Y)?.[2], 9998)
  assert.equal(backlog.dropped, 0)
})

test('movement is not merged across a click, so that the click keeps its position', () => {
  const backlog = new EventBacklog()
  const moves = (x: number) => {
    for (let i = 0; i < 200; i++) backlog.add([[EV_ABS, ABS_X, x + i]])
  }
  moves(0)
  backlog.add([press(0x110)])
  moves(1000)
  backlog.add([release(0x110)])
  moves(2000)
  const positions = drain(backlog).map(([event]) => event[2])
  const click = positions.indexOf(1)
  assert.equal(positions[click - 1], 199)
  assert.equal(positions[positions.indexOf(0, 1) - 1], 1199)
  assert.equal(positions.at(-1), 2199)
  assert.ok(backlog.merged > 0)
})

test('if merging is not enough, the oldest movement is dropped before any key', () => {
  const backlog = new EventBacklog()
  let keys = 0
  for (let i = 0; backlog.count + 4 <= MAX_WAITING; i++) {
    backlog.add([[EV_ABS, ABS_X, i]])
    backlog.add([i % 2 === 0 ? press(30) : release(30)])
    keys++
  }
  while (keys * 2 + 2 <= MAX_WAITING) {
    backlog.add([keys % 2 === 0 ? press(30) : release(30)])
    keys++
    assert.ok(backlog.count <= MAX_WAITING)
  }
  const frames = drain(backlog)
  assert.equal(frames.filter(([event]) => event[0] === EV_KEY).length, keys)
  assert.ok(backlog.dropped > 0)
})

test('a full backlog refuses whole frames, and releases their keys as soon as there is room', () => {
  const backlog = full()
  backlog.add([press(30), press(31)])
  backlog.add([release(30), release(31), [EV_ABS, ABS_X, 1]])
  assert.equal(backlog.dropped, 2)
  assert.equal(backlog.count, MAX_WAITING)
  drain(backlog, 2)
  assert.equal(backlog.releasedLate, 2)
  assert.deepEqual(drain(backlog).at(-1), [release(30), release(31), END])
})

test('a key pressed after a late release is delivered after that release', () => {
  const backlog = full()
  backlog.add([release(30)])
  backlog.add([release(31)])
  // Pressed again while frames are refused: the guest still sees it as pressed.
  backlog.add([press(31)])
  drain(backlog, 10)
  backlog.add([press(30)])
  assert.deepEqual(drain(backlog).slice(-2), [
    [release(30), END],
    [press(30), END],
  ])
})

test('a cleared backlog is empty, and releases no keys', () => {
  const backlog = full()
  backlog.add([release(30)])
  backlog.clear()
  backlog.add([press(31)])
  assert.deepEqual(drain(backlog), [[press(31), END]])
})

test('a frame longer than the backlog is refused, and its keys are released', () => {
  const backlog = new EventBacklog()
  backlog.add(Array.from({ length: MAX_WAITING }, (_, i) => (i % 2 === 0 ? press(30) : release(30))))
  assert.equal(backlog.count, 0)
  backlog.shift()
  assert.deepEqual(drain(backlog), [[release(30), END]])
})

test('for random frames, no key stays pressed, no frame is cut, and the backlog is bounded', () => {
  const key = fc.integer({ min: 1, max: 5 })
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        toggle: fc.array(key, { minLength: 1, maxLength: 3 }),
        times: fc.integer({ min: 1, max: 150 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ move: fc.integer({ min: 0, max: 100 }), times: fc.integer({ min: 1, max: 150 }) }),
    },
    { weight: 3, arbitrary: fc.record({ drain: fc.integer({ min: 1, max: 200 }) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const backlog = new EventBacklog()
      const held = new Set<number>()
      const guest = new Set<number>()
      const see = (frames: InputEvent[][]) => {
        for (const frame of frames) {
          assert.deepEqual(frame.at(-1), END)
          assert.ok(frame.slice(0, -1).every(([type]) => type !== EV_SYN))
          for (const [type, code, value] of frame) {
            if (type === EV_KEY) value === 1 ? guest.add(code) : guest.delete(code)
          }
        }
      }
      for (const action of steps) {
        if ('drain' in action) see(drain(backlog, action.drain))
        else
          for (let i = 0; i < action.times; i++) {
            if ('move' in action) backlog.add([[EV_ABS, ABS_X, action.move + i]])
            else {
              const events = [...new Set(action.toggle)].map((code) => (held.has(code) ? release(code) : press(code)))
              for (const [, code, value] of events) value === 1 ? held.add(code) : held.delete(code)
              backlog.add(events)
            }
            assert.ok(backlog.count <= MAX_WAITING)
          }
      }
      see(drain(backlog))
      for (const code of guest) assert.ok(held.has(code), `key ${code} is stuck`)
    }),
    { numRuns: 100 },
  )
})
