import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ConsoleDriver } from '../devices/virtio/console/testing/console-driver.ts'
import { consoleOn } from './console.ts'

function text(bytes: readonly number[]): string {
  return String.fromCharCode(...bytes)
}

test('standard input and output are joined to the console', async () => {
  const input = new PassThrough()
  const output = new PassThrough()
  const served = consoleOn(input, output)
  const driver = new ConsoleDriver(served.device)
  driver.offer(0, 4, 64)
  input.write('typed')
  await turn()
  assert.equal(text(driver.read(0)), 'typed')
  driver.write(0, [...Buffer.from('printed')])
  await turn()
  assert.equal(String(output.read()), 'printed')
  await served.close?.()
  assert.equal(input.listenerCount('data'), 0)
})

test('input waits for the guest to have room, whole and in order', async () => {
  const input = new PassThrough({ highWaterMark: 1 << 20 })
  const served = consoleOn(input, new PassThrough())
  const driver = new ConsoleDriver(served.device)
  const sent = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251))
  input.write(sent.subarray(0, 150_000))
  input.write(sent.subarray(150_000))
  const got: number[] = []
  for (let i = 0; i < 2000 && got.length < sent.length; i++) {
    driver.offer(0, 4, 256)
    await turn()
    for (const byte of driver.read(0)) got.push(byte)
  }
  assert.ok(sent.equals(Buffer.from(got)), `${got.length} of ${sent.length} bytes`)
})

test('output that is not read stays in the guest', async () => {
  const output = new PassThrough({ highWaterMark: 1024 })
  const served = consoleOn(new PassThrough(), output)
  const driver = new ConsoleDriver(served.device)
  for (let i = 0; i < 20; i++) driver.write(0, new Array(40_000).fill(i))
  assert.ok(served.device.outputPending(0))
  assert.ok(output.readableLength + output.writableLength < 400_000)
  let bytes = 0
  output.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  for (let i = 0; i < 100 && bytes < 800_000; i++) await turn()
  assert.equal(bytes, 800_000)
})

test('streams that fail do not end the console: output is discarded, input ends', async () => {
  const input = new PassThrough()
  const output = new PassThrough({ highWaterMark: 1024 })
  const warnings: string[] = []
  const served = consoleOn(input, output, (line) => warnings.push(line))
  const driver = new ConsoleDriver(served.device)
  for (let i = 0; i < 20; i++) driver.write(0, new Array(40_000).fill(i))
  assert.ok(served.device.outputPending(0))
  input.destroy(new Error('read EIO'))
  output.destroy(new Error('write EPIPE'))
  await turn()
  assert.ok(!served.device.outputPending(0))
  driver.write(0, [1, 2, 3])
  await turn()
  assert.ok(!served.device.outputPending(0))
  assert.deepEqual(warnings.sort(), ['no more input: read EIO', 'output is discarded from here on: write EPIPE'])
})
