import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SerialLog } from './serial-log.ts'

function read(text: string): { steps: string[]; lines: string[]; ends: string[] } {
  const found = { steps: [] as string[], lines: [] as string[], ends: [] as string[] }
  const log = new SerialLog({
    progress: (step) => found.steps.push(step),
    line: (line) => found.lines.push(line),
    ended: ({ kind }) => found.ends.push(kind),
  })
  for (const byte of new TextEncoder().encode(text)) log.byte(byte)
  return found
}

test('steps of the boot are told from other lines, and times are cut off', () => {
  const { steps, lines } = read('[    0.000000] Linux version 6\r\noutboard: devices ready\r\n[   12.5] oops\n')
  assert.deepEqual(steps, ['kernel started', 'devices ready'])
  assert.deepEqual(lines, ['Linux version 6', 'oops'])
})

test('power off, restart and panic are ends', () => {
  assert.deepEqual(read('[ 1.0] reboot: System halted\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] reboot: Power down\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] reboot: Restarting system\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] Kernel panic - not syncing: sysrq\n').ends, ['panic'])
  assert.deepEqual(read('echo reboot: System halted\n').ends, [])
})

test('what a boot loader draws its menu with is cut off', () => {
  assert.deepEqual(read('\x1b[H\x1b[J\x1b[1;1H\x1b[0;37;40mGNU GRUB\x1b[m\r\n').lines, ['GNU GRUB'])
})

test('a line that never ends, and bytes that are no text, cost nothing', () => {
  const { lines } = read(`${'y'.repeat(100_000)}\u0007\u001b\nnext\n`)
  assert.equal(lines[0].length, 512)
  assert.equal(lines[1], 'next')
})
