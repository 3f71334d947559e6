import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { forEachRun } from './page-runs.ts'

function runsOf(...pages: readonly number[]): [number, number][] {
  const runs: [number, number][] = []
  forEachRun(Uint32Array.from(pages), pages.length, (first, length) => runs.push([first, length]))
  return runs
}

test('page numbers in any order become the fewest ranges', () => {
  assert.deepEqual(runsOf(7, 3, 5, 4, 9), [
    [3, 3],
    [7, 1],
    [9, 1],
  ])
  assert.deepEqual(runsOf(), [])
})

test('the highest page numbers do not wrap', () => {
  assert.deepEqual(runsOf(0xffff_ffff, 0, 0xffff_fffe), [
    [0, 1],
    [0xffff_fffe, 2],
  ])
})

test('ranges cover each page once, in ascending order, with gaps between them', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 60 })), (pages) => {
      const runs = runsOf(...pages)
      const covered = runs.flatMap(([first, length]) => Array.from({ length }, (_, i) => first + i))
      assert.deepEqual(
        covered,
        [...new Set(pages)].sort((a, b) => a - b),
      )
      for (let i = 1; i < runs.length; i++) assert.ok(runs[i][0] > runs[i - 1][0] + runs[i - 1][1])
    }),
  )
})
