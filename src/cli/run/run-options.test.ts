import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wholeNumber } from '../arguments.ts'
import { parseDisk, parseNet, parseSeconds } from './run-options.ts'

test('disks keep their order, and only a last ",readonly" is an option', () => {
  const first = parseDisk('a,b.img', [])
  const both = parseDisk('c.img,readonly', first)
  assert.deepEqual(both, [
    { path: 'a,b.img', readOnly: false },
    { path: 'c.img', readOnly: true },
  ])
  assert.throws(() => parseDisk(',readonly', []), /name of a file/)
})

test('the format of a disk is what is said, or else what its name says', () => {
  const formats = ['a.qcow2', 'a.VMDK,readonly', 'a.img', 'a.img,format=vhdx', 'a.qcow2,format=raw,readonly']
  assert.deepEqual(
    formats.reduce<ReturnType<typeof parseDisk>>((disks, value) => parseDisk(value, disks), []),
    [
      { path: 'a.qcow2', readOnly: false, format: 'qcow2' },
      { path: 'a.VMDK', readOnly: true, format: 'vmdk' },
      { path: 'a.img', readOnly: false },
      { path: 'a.img', readOnly: false, format: 'vhdx' },
      { path: 'a.qcow2', readOnly: true, format: 'raw' },
    ],
  )
  assert.throws(() => parseDisk('a.img,format=ext4', []), /raw, qcow2/)
  assert.throws(() => parseDisk(',format=raw', []), /name of a file/)
})

test('a disk has the blocks that are said', () => {
  assert.deepEqual(parseDisk('a.img,logical-block-size=4096,readonly', []), [
    { path: 'a.img', readOnly: true, logicalBlockSize: 4096 },
  ])
  assert.throws(() => parseDisk('a.img,logical-block-size=1024', []), /512 or 4096/)
})

test('a network is none, passt with or without options of its own, or an interface', () => {
  assert.deepEqual(parseNet('none'), { kind: 'none' })
  assert.deepEqual(parseNet('passt'), { kind: 'passt' })
  assert.deepEqual(parseNet('passt:-t 2222:22'), { kind: 'passt', options: '-t 2222:22' })
  assert.deepEqual(parseNet('tap:tap0'), { kind: 'tap', name: 'tap0' })
  for (const wrong of ['', 'tap', 'tap:', 'none:x', 'bridge:br0', 'passt:']) {
    assert.throws(() => parseNet(wrong), /tap:NAME/, wrong)
  }
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
