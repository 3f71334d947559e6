import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Rect, Surface } from '../services/display.ts'
import { ViewerDisplay } from './viewer-display.ts'

/** Surface whose bytes are their column and row. */
function surface(width: number, height: number): Surface {
  return {
    width,
    height,
    path: 'scatter',
    reason: '',
    buffer: undefined,
    layout: { width, height, fourcc: 0, modifier: 0n, planes: [{ offset: 0, stride: width * 4 }] },
    source: { x: 0, y: 0, width, height },
    read(rect, target, targetOffset, targetStride) {
      for (let y = 0; y < rect.height; y++) {
        for (let x = 0; x < rect.width; x++) {
          target.set([rect.x + x, rect.y + y, 0, 0], targetOffset + y * targetStride + x * 4)
        }
      }
      return rect.width * rect.height * 4
    },
    locate: () => false,
  }
}

class Viewer {
  readonly sent: (readonly Rect[])[] = []
  readonly modes: (string | undefined)[] = []
  readonly display = new ViewerDisplay({
    mode: (_scanout, mode) => this.modes.push(mode && `${mode.width}x${mode.height}`),
    damage: (_scanout, rects) => this.sent.push(rects),
    cursor: () => {},
  })
}

const rect = (x: number, y: number, width: number, height: number): Rect => ({ x, y, width, height })

test('damage is merged until the viewer acknowledges the previous damage', () => {
  const { display, sent } = new Viewer()
  display.scanout(0, surface(100, 100))
  assert.deepEqual(sent, [[rect(0, 0, 100, 100)]])
  display.damage(0, rect(1, 1, 2, 2))
  display.damage(0, rect(50, 50, 2, 2))
  assert.equal(sent.length, 1)
  display.taken(0)
  assert.equal(sent.length, 2)
  for (const wanted of [rect(1, 1, 2, 2), rect(50, 50, 2, 2)]) {
    assert.ok(sent[1].some((found) => contains(found, wanted)))
  }
  display.taken(0)
  assert.equal(sent.length, 2)
})

test('a viewer that reads a scanout in place receives no damage, and all of it when it stops', () => {
  const { display, sent } = new Viewer()
  display.scanout(0, surface(100, 100))
  display.taken(0)
  display.readInPlace(0, true)
  display.damage(0, rect(1, 1, 2, 2))
  display.scanout(0, surface(100, 100))
  assert.equal(sent.length, 1)
  display.readInPlace(0, false)
  assert.deepEqual(sent[1], [rect(0, 0, 100, 100)])
})

test('any amount of damage is merged into a few rectangles that cover it', () => {
  const { display, sent } = new Viewer()
  display.scanout(0, surface(1000, 1000))
  const changed = Array.from({ length: 500 }, (_, i) => rect((i * 37) % 990, (i * 91) % 990, 5, 5))
  for (const change of changed) display.damage(0, change)
  display.taken(0)
  assert.ok(sent[1].length <= 8)
  for (const change of changed) assert.ok(sent[1].some((found) => contains(found, change)))
})

test('the viewer receives a mode only when it changes', () => {
  const { display, modes } = new Viewer()
  display.scanout(0, surface(100, 100))
  display.scanout(0, surface(100, 100))
  display.scanout(0, surface(100, 50))
  display.scanout(0, undefined)
  assert.deepEqual(modes, ['100x100', '100x50', undefined])
})

test('pixels are clipped to the scanout', () => {
  const { display } = new Viewer()
  assert.equal(display.read(0, undefined), undefined)
  display.scanout(0, surface(10, 8))
  const part = display.read(0, rect(8, 6, 100, 100))
  assert.deepEqual([part?.x, part?.y, part?.width, part?.height], [8, 6, 2, 2])
  assert.deepEqual([...(part?.data ?? [])], [8, 6, 0, 0, 9, 6, 0, 0, 8, 7, 0, 0, 9, 7, 0, 0])
  assert.equal(display.read(0, rect(50, 50, 5, 5))?.data.length, 0)
  assert.equal(display.read(0, rect(-5, -5, 3, 3))?.data.length, 3 * 3 * 4)
})

function contains(outer: Rect, inner: Rect): boolean {
  return (
    outer.x <= inner.x &&
    outer.y <= inner.y &&
    outer.x + outer.width >= inner.x + inner.width &&
    outer.y + outer.height >= inner.y + inner.height
  )
}
