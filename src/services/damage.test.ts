import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Damage } from './damage.ts'
import type { Rect } from './rect.ts'

const MODE = { width: 640, height: 480 }

const rects = fc.array(
  fc.record({
    x: fc.integer({ min: 0, max: 639 }),
    y: fc.integer({ min: 0, max: 479 }),
    width: fc.integer({ min: 1, max: 300 }),
    height: fc.integer({ min: 1, max: 300 }),
  }),
  { maxLength: 60 },
)

function covers(outer: Rect, inner: Rect): boolean {
  return (
    outer.x <= inner.x &&
    outer.y <= inner.y &&
    outer.x + outer.width >= Math.min(MODE.width, inner.x + inner.width) &&
    outer.y + outer.height >= Math.min(MODE.height, inner.y + inner.height)
  )
}

test('a few rectangles within the scanout cover all damage', () => {
  fc.assert(
    fc.property(rects, (added) => {
      const damage = new Damage()
      for (const rect of added) damage.add(rect)
      const taken = damage.take(MODE)
      assert.ok(taken.length <= 8, `${taken.length} rectangles`)
      for (const rect of added) assert.ok(taken.some((cover) => covers(cover, rect)))
      for (const { x, y, width, height } of taken) {
        assert.ok(x >= 0 && y >= 0 && width > 0 && height > 0 && x + width <= MODE.width && y + height <= MODE.height)
      }
      assert.deepEqual(damage.take(MODE), [])
    }),
  )
})

test('neighbours become one rectangle, far ones stay apart', () => {
  const damage = new Damage()
  damage.add({ x: 0, y: 0, width: 10, height: 10 })
  damage.add({ x: 10, y: 0, width: 10, height: 10 })
  damage.add({ x: 600, y: 400, width: 10, height: 10 })
  assert.deepEqual(damage.take(MODE), [
    { x: 0, y: 0, width: 20, height: 10 },
    { x: 600, y: 400, width: 10, height: 10 },
  ])
})

test('all is damaged up to the size the screen has when it is taken', () => {
  const damage = new Damage()
  damage.addAll()
  damage.add({ x: 5, y: 5, width: 5, height: 5 })
  assert.deepEqual(damage.take(MODE), [{ x: 0, y: 0, ...MODE }])
  assert.ok(damage.isEmpty)
})

test('rectangles outside the scanout or without area are ignored', () => {
  const damage = new Damage()
  damage.add({ x: 0, y: 0, width: 0, height: 9 })
  assert.ok(damage.isEmpty)
  damage.add({ x: 700, y: 0, width: 9, height: 9 })
  assert.deepEqual(damage.take(MODE), [])
})
