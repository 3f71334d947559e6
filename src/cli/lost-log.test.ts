import assert from 'node:assert/strict'
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ffiMissing } from '../host/linux/ffi.ts'
import { readLines } from '../host/node/read-lines.ts'
import { FramesRig } from '../sharing/frames/testing/frames-rig.ts'

const skip = ffiMissing() ?? false
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-lost-log-'))
after(() => rmSync(folder, { recursive: true }))
/** Where commands make their short-lived files. */
const scratch = path.join(folder, 'scratch')
mkdirSync(scratch)
const disk = path.join(folder, 'disk.img')
writeFileSync(disk, Buffer.alloc(1 << 20))
const passt = createServer((socket) => socket.on('error', () => {})).listen(path.join(folder, 'passt.sock'))
after(() => passt.close())

/** GET_FEATURES of vhost-user, and a message with a size that no message has. */
const GET_FEATURES = Buffer.from(Uint32Array.of(1, 1, 0).buffer)
const MALFORMED = Buffer.from(Uint32Array.of(1, 1, 0xffff_ffff).buffer)

/** Ways in which a stream takes no more: its reader is gone, its file system is full, or its reader does not read. */
const LOSSES = ['closed', 'full', 'unread'] as const
type Loss = (typeof LOSSES)[number]

/** Starts a command whose standard streams of these numbers are lost. */
function start(args: readonly string[], loss: Loss, lost: readonly number[], input = '/dev/null'): ChildProcess {
  const stdin = openSync(input, 'r')
  const full = openSync('/dev/full', 'w')
  try {
    const output = (fd: number) => (lost.includes(fd) && loss === 'full' ? full : 'pipe')
    const stdio: StdioOptions = [stdin, output(1), output(2)]
    const child = spawn(process.execPath, [MAIN, ...args], { stdio, env: { ...process.env, TMPDIR: scratch } })
    for (const fd of [1, 2]) {
      const stream = fd === 1 ? child.stdout : child.stderr
      if (!lost.includes(fd)) stream?.setEncoding('utf8')
      else if (loss === 'closed') stream?.destroy()
      else stream?.pause()
    }
    return child
  } finally {
    closeSync(stdin)
    closeSync(full)
  }
}

async function outcome(child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const said = { stdout: '', stderr: '' }
  if (child.stdout?.readableEncoding) child.stdout.on('data', (text: string) => (said.stdout += text))
  if (child.stderr?.readableEncoding) child.stderr.on('data', (text: string) => (said.stderr += text))
  const [status] = await once(child, 'exit')
  return { status, ...said }
}

async function meet(socketPath: string): Promise<Socket> {
  for (;;) {
    const socket = connect(socketPath)
    try {
      await once(socket, 'connect')
      return socket
    } catch {
      await sleep(20)
    }
  }
}

/** Connects, breaks the protocol, which is logged, and is gone when the device closed the connection. */
async function annoy(socketPath: string): Promise<void> {
  const socket = await meet(socketPath)
  socket.on('error', () => {}).resume()
  socket.write(MALFORMED)
  await once(socket, 'close')
}

/** @returns the bytes of the answer to GET_FEATURES */
async function greet(socketPath: string): Promise<number> {
  const socket = await meet(socketPath)
  socket.write(GET_FEATURES)
  const [answer] = await once(socket, 'data')
  socket.destroy()
  return answer.length
}

const DEVICES: readonly (readonly [string, ...string[]])[] = [
  ['block', `--blk-file=${disk}`],
  ['block', `--blk-file=${disk}`, '--queues=2', '--workers=2'],
  ['console'],
  ['entropy'],
  ['gpu'],
  ['input'],
  ['net', `--passt-socket=${path.join(folder, 'passt.sock')}`],
]

for (const args of DEVICES) {
  for (const loss of LOSSES) {
    test(`device ${args.map((word) => path.basename(word)).join(' ')}: a log that is ${loss} changes nothing`, {
      skip,
    }, async () => {
      const socketPath = path.join(folder, `${args[0]}-${args.length}-${loss}.sock`)
      const child = start(['device', ...args, `--socket-path=${socketPath}`], loss, [2])
      try {
        const ended = outcome(child)
        while (!existsSync(socketPath)) await sleep(10)
        for (let i = 0; i < 3; i++) await annoy(socketPath)
        assert.equal(await greet(socketPath), 20)
        child.kill('SIGTERM')
        assert.equal((await ended).status, 0)
      } finally {
        child.kill('SIGKILL')
      }
    })
  }
}

test('of a log that is read late, what did not fit is counted', async () => {
  const lines = 50_000
  const program = `
    import { diagnosticLine } from ${JSON.stringify(new URL('./diagnostics.js', import.meta.url).href)}
    for (let i = 0; i < ${lines}; i++) diagnosticLine('line '.repeat(10))
    process.stdout.write(String(process.stderr.writableLength))
  `
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  try {
    const [waiting] = await once(child.stdout.setEncoding('utf8'), 'data')
    assert.ok(Number(waiting) < 512 << 10, waiting)
    let logged = 0
    let dropped = 0
    readLines(child.stderr, (line) => {
      if (line.startsWith('line ')) logged++
      dropped += Number(/^outboard: (\d+) lines of this log were dropped/.exec(line)?.[1] ?? 0)
    })
    await once(child, 'close')
    assert.ok(logged >= 1000 && dropped > 0, `${logged}, ${dropped}`)
    assert.equal(logged + dropped, lines)
  } finally {
    child.kill('SIGKILL')
  }
})

for (const kind of ['console', 'input']) {
  test(`device ${kind} serves on when its standard streams are all lost`, { skip }, async () => {
    const socketPath = path.join(folder, `all-${kind}.sock`)
    // A folder cannot be read as a file: input fails at once.
    const child = start(['device', kind, `--socket-path=${socketPath}`], 'full', [1, 2], folder)
    try {
      const ended = outcome(child)
      while (!existsSync(socketPath)) await sleep(10)
      assert.equal(await greet(socketPath), 20)
      child.kill('SIGTERM')
      assert.equal((await ended).status, 0)
    } finally {
      child.kill('SIGKILL')
    }
  })
}

test('other commands end with the code they would have ended with', { skip }, async () => {
  const rig = new FramesRig()
  try {
    const cases: readonly (readonly [number, ...string[]])[] = [
      [0, '--version'],
      [0, '--help'],
      [2, 'no-such-command'],
      [2, 'run', '--no-such-option'],
      [2, 'run', '--display', 'none', '--disk', path.join(folder, 'missing.img')],
      [0, 'frames', rig.path],
      [2, 'frames', path.join(folder, 'missing.sock')],
      [0, 'device', 'block', '--print-capabilities'],
      [2, 'device', 'block'],
    ]
    for (const [code, ...args] of cases) {
      for (const loss of LOSSES) assert.equal((await outcome(start(args, loss, [2]))).status, code, `${args} ${loss}`)
    }
  } finally {
    await rig.close()
  }
})

test('a result that cannot be written is an error of its own, in one line or, when its reader is gone, silent', {
  skip,
}, async () => {
  const rig = new FramesRig()
  try {
    for (const args of [
      ['--version'],
      ['run', '--help'],
      ['device', 'block', '--print-capabilities'],
      ['frames', rig.path],
      ['doctor'],
    ]) {
      const closed = await outcome(start(args, 'closed', [1]))
      assert.deepEqual([closed.status, closed.stderr], [141, ''], args.join(' '))
      const full = await outcome(start(args, 'full', [1]))
      assert.equal(full.status, 125, args.join(' '))
      assert.match(full.stderr, /^outboard: cannot write to standard output: ENOSPC.*\n$/)
      // With standard error lost too there is the code only.
      assert.equal((await outcome(start(args, 'full', [1, 2]))).status, 125, args.join(' '))
    }
  } finally {
    await rig.close()
  }
  assert.deepEqual(readdirSync(scratch), [])
})
