import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { test } from 'node:test'
import { MAIN } from '../qemu/device-program.ts'
import { guestMissing } from './guest.ts'

const skip = guestMissing('v86') ?? false

type Run = ChildProcessByStdio<Writable, Readable, Readable>

function run(...args: readonly string[]): Run {
  const child = spawn(process.execPath, [MAIN, 'run', ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stderr.resume()
  return child
}

/** Reads a stream until its text matches, and pauses it. @returns the text */
async function readUntil(stream: Readable, pattern: RegExp): Promise<string> {
  let text = ''
  while (!pattern.test(text)) {
    const bytes: Buffer | null = stream.read()
    if (bytes) text += bytes.toString('latin1')
    else if (stream.readableEnded) assert.fail(`it ended before ${pattern}: ${JSON.stringify(text)}`)
    else await once(stream, 'readable')
  }
  return text
}

test('piped input arrives completely, and the last output of the guest is printed', { skip }, async () => {
  const child = run('--display', 'none')
  const exit = once(child, 'exit')
  const typed = randomBytes(2_400_000)
  // The command must run before its input arrives: earlier input is for the shell.
  await readUntil(child.stdout, /# /)
  child.stdin.write(`stty raw -echo; echo go; head -c ${typed.length} | sha256sum; poweroff -f\n`)
  await readUntil(child.stdout, /\ngo\r?\n/)
  child.stdin.write(typed)
  await readUntil(child.stdout, new RegExp(createHash('sha256').update(typed).digest('hex')))
  assert.deepEqual(await exit, [0, null])
})

test('a late reader receives all output of a command', { skip }, async () => {
  const child = run('--exec', 'head -c 3000000 /dev/zero; echo end')
  await once(child.stdout, 'readable')
  const hash = createHash('sha256')
  for await (const bytes of child.stdout) hash.update(bytes)
  const expected = createHash('sha256').update(Buffer.alloc(3_000_000)).update('end\n')
  assert.equal(hash.digest('hex'), expected.digest('hex'))
})

test('a run whose output is not read exits on a signal', { skip }, async () => {
  const child = run('--exec', 'cat /dev/zero')
  const exit = once(child, 'exit')
  await once(child.stdout, 'readable')
  child.kill('SIGINT')
  assert.deepEqual(await exit, [130, null])
})

test('a run exits on a signal although a peer of the page keeps its connection open', { skip }, async () => {
  const child = run('--display', 'web', '--port', '0')
  const exit = once(child, 'exit')
  const [, port] = /127\.0\.0\.1:(\d+)/.exec(await readUntil(child.stdout, /\n/)) ?? []
  const peer = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
  peer
    .on('error', () => {})
    .write('GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')
  await once(peer, 'data')
  child.kill('SIGINT')
  assert.deepEqual(await exit, [130, null])
  peer.destroy()
})
