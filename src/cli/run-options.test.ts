import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDisk, parseSeconds, wholeNumber } from './run-options.ts'

test('disks keep their order, and only a last ",readonly" is an option', () => {
  const first = parseDisk('a,b.img', [])
  const both = parseDisk('c.img,readonly', first)
  assert.deepEqual(both, [
    { path: 'a,b.img', readOnly: false },
    { path: 'c.img', readOnly: true },
  ])
  assert.throws(() => parseDisk(',readonly', []), /name of a file/)
})

test('numbers out of range or with anything behind them are refused', () => {
  const parse = wholeNumber(64, 2048)
  assert.equal(parse('64'), 64)
  assert.equal(parse('2048'), 2048)
  for (const wrong of ['63', '2049', '-1', '1e3', '128M', '', ' 128']) assert.throws(() => parse(wrong), /whole number/)
})

test('a time-out is a positive number of seconds', () => {
  assert.equal(parseSeconds('1'), 1)
  assert.equal(parseSeconds('.5'), 0.5)
  for (const wrong of ['0', '-1', 'x', '', '1s']) assert.throws(() => parseSeconds(wrong), /seconds/)
})
