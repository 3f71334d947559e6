import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Backoff } from '../../src/web/backoff.ts'
import { bufferLines } from '../../src/web/buffer-lines.ts'
import { formatBytes, formatName, formatValue } from '../../src/web/format-value.ts'
import { frameCosts } from '../../src/web/frame-costs.ts'
import { toOpaqueRgba, toRgba } from '../../src/web/pixels.ts'
import { wheelSteps } from '../../src/web/wheel.ts'

test('B, G, R, X becomes R, G, B and opaque; a cursor keeps its alpha', () => {
  const screen = Uint8Array.of(1, 2, 3, 4, 250, 251, 252, 0)
  toOpaqueRgba(new Uint32Array(screen.buffer))
  assert.deepEqual([...screen], [3, 2, 1, 255, 252, 251, 250, 255])
  const cursor = Uint8Array.of(1, 2, 3, 4, 250, 251, 252, 0)
  toRgba(new Uint32Array(cursor.buffer))
  assert.deepEqual([...cursor], [3, 2, 1, 4, 252, 251, 250, 0])
})

test('a notch of the wheel is a step in every mode, up to the limit of the server', () => {
  assert.deepEqual(wheelSteps({ deltaX: 0, deltaY: 100, deltaMode: 0 }), { vertical: -1, horizontal: 0 })
  assert.deepEqual(wheelSteps({ deltaX: 3, deltaY: -3, deltaMode: 1 }), { vertical: 1, horizontal: 1 })
  assert.deepEqual(wheelSteps({ deltaX: 0, deltaY: -1, deltaMode: 2 }), { vertical: 1, horizontal: 0 })
  assert.deepEqual(wheelSteps({ deltaX: 1e9, deltaY: -1e9, deltaMode: 0 }), { vertical: 100, horizontal: 100 })
})

test('delays grow up to a limit, and start anew after a success', () => {
  const backoff = new Backoff(() => 0.5)
  assert.deepEqual(
    Array.from({ length: 7 }, () => backoff.next()),
    [250, 500, 1000, 2000, 4000, 8000, 8000],
  )
  backoff.reset()
  assert.equal(backoff.next(), 250)
})

test('values of a device are formatted for the user', () => {
  assert.equal(formatBytes(1536), '1.5 KiB')
  assert.equal(formatName('maxHostBytes'), 'max host bytes')
  assert.equal(formatName('RESOURCE_FLUSH'), 'RESOURCE_FLUSH')
  assert.equal(formatValue('hostBytes', 2 ** 20), '1 MiB')
  assert.equal(formatValue('flushes', 1234567), '1,234,567')
  assert.equal(formatValue('mode', { width: 800, height: 600 }), '800 × 600')
  assert.equal(formatValue('damage', { x: 1, y: 2, width: 3, height: 4 }), '3 × 4 at 1, 2')
  assert.equal(formatValue('path', null), '–')
  assert.equal(formatValue('errors', {}), 'none')
  assert.equal(formatValue('names', ['a', 'b']), 'a, b')
  assert.equal(formatValue('ports', [{ a: 1 }]), undefined)
})

test('the cost of a frame includes all moved bytes, for screens that are on', () => {
  const on = { path: 'copy', reason: 'a 2D resource', flushes: 4, bytesTransferred: 4096, bytesRead: 4096 }
  assert.deepEqual(frameCosts({ scanouts: [on, { path: null }] }), [
    { path: 'copy', reason: 'a 2D resource', inPlace: false, bytesPerFlush: 2048 },
  ])
  assert.deepEqual(frameCosts({ scanouts: [{ ...on, flushes: 0 }] })[0].bytesPerFlush, undefined)
  const page = [{ scanout: 0, inPlace: true, bytesRead: 8192 }]
  assert.deepEqual(frameCosts({ scanouts: [{ ...on, bytesRead: 0 }], page }), [
    { path: 'copy', reason: 'a 2D resource', inPlace: true, bytesPerFlush: 3072 },
  ])
  for (const state of [{}, { scanouts: null }, { scanouts: 7 }, { scanouts: [null, 3] }]) {
    assert.deepEqual(frameCosts(state), [])
  }
})

test('each shared buffer has a line, and further ones have one common line', () => {
  const buffer = {
    name: 'resource 7',
    kind: 'linear',
    reason: 'there is no /dev/udmabuf',
    owner: 'guest',
    bytes: 4 << 20,
    picture: { width: 1024, height: 768, planes: 1 },
    holders: 1,
    removed: false,
  }
  assert.deepEqual(bufferLines({ buffers: { buffers: [buffer] } }), [
    'Buffer resource 7: linear, 4 MiB of the guest, 1024 × 768, held by 1 (there is no /dev/udmabuf)',
  ])
  const gone = { ...buffer, picture: null, removed: true }
  assert.deepEqual(bufferLines({ buffers: { buffers: [gone] } }), [
    'Buffer resource 7: linear, 4 MiB of the guest, held by 1, taken back by the guest (there is no /dev/udmabuf)',
  ])
  const totals = [
    { kind: 'linear', problem: 'no-device', count: 99, bytes: 99 << 20 },
    { kind: 'dma-buf', problem: null, count: 1, bytes: 4096 },
  ]
  const many = bufferLines({ buffers: { buffers: new Array(100).fill(buffer), totals } })
  assert.equal(many.length, 9)
  assert.equal(many[8], 'All buffers: 99 linear (no-device), 99 MiB; 1 dma-buf, 4 KiB')
  for (const state of [{}, { buffers: null }, { buffers: { buffers: 7 } }]) assert.deepEqual(bufferLines(state), [])
})
