import assert from 'node:assert/strict'
import { PassThrough, Writable } from 'node:stream'
import { test } from 'node:test'
import { STREAM_WINDOW } from '../../machine/messages.ts'
import { SerialTerminal } from './serial-terminal.ts'

/** Input of a QEMU that reads nothing: writes never complete. */
function rig() {
  const shown: Uint8Array[] = []
  const output = new PassThrough()
  const input = new Writable({ write() {} })
  const terminal = new SerialTerminal(input, output, (bytes) => shown.push(bytes))
  return { terminal, output, shown }
}

test('input that QEMU does not read is dropped when the virtio console becomes the terminal', () => {
  const { terminal } = rig()
  let taken = 0
  terminal.type(new Uint8Array(1), () => taken++)
  assert.equal(taken, 0)
  terminal.release()
  terminal.release()
  assert.equal(taken, 1)
})

test('acknowledged bytes count for the serial port first, and the rest is returned', () => {
  const { terminal, output } = rig()
  output.write(new Uint8Array(10))
  output.read()
  assert.deepEqual([terminal.taken(4), terminal.taken(9), terminal.taken(5)], [0, 3, 5])
})

test('output is not read while the machine accepts none, and is read to the end when QEMU stops', async () => {
  const { terminal, output } = rig()
  output.write(new Uint8Array(STREAM_WINDOW))
  output.read()
  assert.equal(output.isPaused(), true)
  const ended = new Promise((resolve) => output.on('end', resolve))
  output.end(new Uint8Array(100))
  terminal.close()
  await ended
})
