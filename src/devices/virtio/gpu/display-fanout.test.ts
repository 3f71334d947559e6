import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DisplayFanout } from './display-fanout.ts'
import { RecordingDisplay } from './testing/recording-display.ts'

test('all displays receive the same calls, and the first with preferred modes provides them', () => {
  const [first, second] = [new RecordingDisplay(), new RecordingDisplay()]
  assert.equal(new DisplayFanout([first, second]).preferredModes, undefined)
  second.preferredModes = (callback) => callback([{ width: 800, height: 600 }])
  const both = new DisplayFanout([first, second])
  const received: unknown[] = []
  both.preferredModes?.((modes) => received.push(modes))
  assert.deepEqual(received, [[{ width: 800, height: 600 }]])
  both.damage(1, { x: 1, y: 2, width: 3, height: 4 })
  both.moveCursor(0, 7, 8)
  both.scanout(1, undefined)
  both.cursor(1, undefined)
  for (const display of [first, second]) {
    assert.deepEqual(display.damages, [{ index: 1, x: 1, y: 2, width: 3, height: 4 }])
    assert.deepEqual(display.positions, [{ x: 7, y: 8 }])
    assert.equal(display.surfaces.length, 2)
    assert.equal(display.cursors.length, 2)
  }
})
