import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SerialLog } from './serial-log.ts'

function read(text: string | Uint8Array) {
  const found = { steps: [] as string[], lines: [] as string[], ends: [] as string[], messages: [] as string[] }
  const log = new SerialLog({
    progress: (step) => found.steps.push(step),
    line: (line) => found.lines.push(line),
    ended({ kind, message }) {
      found.ends.push(kind)
      found.messages.push(message)
    },
  })
  for (const byte of typeof text === 'string' ? new TextEncoder().encode(text) : text) log.byte(byte)
  return found
}

test('boot steps are distinguished from other lines, and kernel times are removed', () => {
  const { steps, lines } = read('[    0.000000] Linux version 6\r\noutboard: devices ready\r\n[   12.5] oops\n')
  assert.deepEqual(steps, ['kernel started', 'devices ready'])
  assert.deepEqual(lines, ['Linux version 6', 'oops'])
})

test('power off, restart and panic end the guest', () => {
  assert.deepEqual(read('[ 1.0] reboot: System halted\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] reboot: Power down\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] reboot: Restarting system\n').ends, ['power-off'])
  assert.deepEqual(read('[ 1.0] Kernel panic - not syncing: sysrq\n').ends, ['panic'])
  assert.deepEqual(read('echo reboot: System halted\n').ends, [])
})

test('control sequences of boot loader menus are removed', () => {
  assert.deepEqual(read('\x1b[H\x1b[J\x1b[1;1H\x1b[0;37;40mGNU GRUB\x1b[m\r\n').lines, ['GNU GRUB'])
})

test('text is UTF-8, and 7-bit and 8-bit control characters are removed', () => {
  const c1 = Array.from({ length: 0x20 }, (_, i) => String.fromCharCode(0x80 + i))
  assert.deepEqual(read('Gr\u00fc\u00dfe \u9b31\n').lines, ['Gr\u00fc\u00dfe \u9b31'])
  assert.deepEqual(read('a\u009b2Jb\u009d0;title\u0007c\n').lines, ['ab\\x9d0;titlec'])
  assert.equal(read(`${c1.join('')}\x7f\n`).lines.length, 1)
  const raw = read(Uint8Array.from([...c1.map((_, i) => 0x80 + i), 0x7f, 0x0a])).lines
  for (const line of [...read(`x${c1.join('x')}\u202e\x7f\n`).lines, ...raw]) {
    assert.doesNotMatch(line, /[\p{Cc}\p{Bidi_Control}]/u)
  }
})

test('the reason of a panic contains the line of the guest as printable text', () => {
  const panic = read('Kernel panic - not syncing: \u009b2J\x1b]52;c;AAAA\x07\u0090q\x7f\n')
  assert.deepEqual(panic.ends, ['panic'])
  assert.doesNotMatch(panic.messages.join(), /\p{Cc}/u)
})

test('endless lines and invalid text use bounded memory', () => {
  const { lines } = read(`${'y'.repeat(100_000)}\u0007\u001b\nnext\n`)
  assert.equal(lines[0].length, 512)
  assert.equal(lines[1], 'next')
})
