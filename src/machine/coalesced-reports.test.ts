import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CoalescedReports, isCoalesced } from './coalesced-reports.ts'
import type { Report } from './messages.ts'

test('of many cursors, modes and lights, a bounded number is unacknowledged, and the newest arrives', () => {
  const posted: Report[] = []
  const reports = new CoalescedReports((report) => posted.push(report))
  for (let i = 0; i < 100_000; i++) {
    reports.report({ type: 'mode', scanout: i % 2, mode: { width: i, height: 1 } })
    reports.report({ type: 'cursor', scanout: 0, cursor: undefined })
    reports.report({ type: 'led', code: i % 3, on: i % 2 === 0 })
  }
  assert.ok(posted.length <= 100)
  for (let acknowledged = 0; acknowledged < posted.length; acknowledged++) reports.acknowledge()
  assert.ok(posted.length <= 100)
  const widths = posted.flatMap((report) => (report.type === 'mode' && report.mode ? [report.mode.width] : []))
  assert.deepEqual(widths.slice(-2).sort(), [99_998, 99_999])
})

test('log lines arrive in order, and dropped ones are counted', () => {
  const posted: Report[] = []
  const reports = new CoalescedReports((report) => posted.push(report))
  const count = 50_000
  for (let i = 0; i < count; i++) reports.report({ type: 'log', line: `line ${i}` })
  for (let acknowledged = 0; acknowledged < posted.length; acknowledged++) reports.acknowledge()
  const lines = posted.map((report) => (report.type === 'log' ? report.line : ''))
  assert.ok(lines.length < 2000)
  assert.deepEqual(lines.slice(0, 3), ['line 0', 'line 1', 'line 2'])
  assert.equal(lines.at(-1), `${count - lines.length + 1} lines of this log were dropped: there were too many at once`)
})

test('other reports are never delayed', () => {
  const posted: Report[] = []
  const reports = new CoalescedReports((report) => posted.push(report))
  for (let i = 0; i < 1000; i++) reports.report({ type: 'log', line: '' })
  const before = posted.length
  reports.report({ type: 'input-handled' })
  reports.report({ type: 'stopped' })
  assert.equal(posted.length, before + 2)
  assert.equal(isCoalesced({ type: 'stopped' }), false)
})
