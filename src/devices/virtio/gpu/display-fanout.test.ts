import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DisplayFanout } from './display-fanout.ts'
import { RecordingDisplay } from './testing/recording-display.ts'

test('several displays are told the same, and the first that has an opinion is asked', () => {
  const [first, second] = [new RecordingDisplay(), new RecordingDisplay()]
  assert.equal(new DisplayFanout([first, second]).preferredModes, undefined)
  second.preferredModes = (told) => told([{ width: 800, height: 600 }])
  const both = new DisplayFanout([first, second])
  const asked: unknown[] = []
  both.preferredModes?.((wishes) => asked.push(wishes))
  assert.deepEqual(asked, [[{ width: 800, height: 600 }]])
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
