import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { decode } from 'fast-png'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { BUFFER, encode, HELLO, MAGIC, READY, REFUSED, VERSION, WireKind } from '../../sharing/frames/protocol.ts'
import { FramesRig } from '../../sharing/frames/testing/frames-rig.ts'

const skip = ffiMissing() ?? false
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))
const run = promisify(execFile)

interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function frames(...args: string[]): Promise<Outcome> {
  try {
    return { code: 0, ...(await run(process.execPath, [MAIN, 'frames', ...args])) }
  } catch (error) {
    return error as Outcome
  }
}

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, 'frames', ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
}

function withRig(name: string, memoryFiles: boolean, body: (rig: FramesRig) => Promise<void>): void {
  test(name, { skip }, async () => {
    const rig = new FramesRig({ memoryFiles })
    try {
      await body(rig)
    } finally {
      await rig.close()
    }
  })
}

withRig('list prints screens and buffers with their paths and reasons', false, async (rig) => {
  const nothing = await frames(rig.path)
  assert.equal(nothing.stdout, 'the guest shows nothing, and shares nothing\n')
  const picture = rig.picture(7, 64, 48)
  rig.show(picture)
  const { code, stdout, stderr } = await frames(rig.path, 'list')
  assert.equal(stderr, '')
  assert.equal(code, 0)
  assert.match(stdout, /^scanout 0 {2}linear, buffer 1: 64x48 XR24, 256 a row from 0$/m)
  assert.match(stdout, /^buffer 1 {2}linear, resource 7, 12288 bytes: 64x48 XR24, 256 a row from 0$/m)
  assert.match(stdout, /^ {4}there is no \/dev\/there-is-no-udmabuf: modprobe udmabuf/m)
  assert.match(stdout, /^ {4}not given: its file contains all guest memory.*--export-memory$/m)
  const listed = JSON.parse((await frames(rig.path, 'list', '--json')).stdout)
  assert.equal(listed.memoryFiles, false)
  assert.deepEqual(listed.scanouts[0].source, { x: 0, y: 0, width: 64, height: 48 })
  assert.deepEqual(listed.buffers[0].picture, {
    width: 64,
    height: 48,
    fourcc: 'XR24',
    modifier: '0x0',
    planes: [{ offset: 0, stride: 256 }],
  })
})

withRig('dump saves the pixels that the guest drew', true, async (rig) => {
  const picture = rig.picture(7, 64, 48)
  rig.draw(picture, 0x20)
  rig.draw(picture, 0xf0, { x: 5, y: 6, width: 1, height: 1 })
  rig.show(picture, 1)
  for (const [i, which] of [[], ['--scanout', '1'], ['--buffer', '1']].entries()) {
    const output = path.join(rig.folder, `${i}.png`)
    const { code, stderr } = await frames(rig.path, 'dump', '--output', output, ...which)
    assert.equal(stderr, '')
    assert.equal(code, 0)
    const { width, height, data } = decode(readFileSync(output))
    assert.deepEqual([width, height], [64, 48])
    for (let pixel = 0; pixel < width * height; pixel++) {
      const value = pixel === 6 * 64 + 5 ? 0xf0 : 0x20
      assert.deepEqual([...data.subarray(3 * pixel, 3 * pixel + 3)], [value, value, value])
    }
  }
})

withRig('measure counts frames, changes and how long they took', false, async (rig) => {
  const picture = rig.picture(7, 64, 48)
  rig.show(picture)
  const child = start(rig.path, 'measure', '--seconds', '1', '--json')
  let stdout = ''
  child.stdout?.on('data', (bytes: Buffer) => {
    stdout += bytes
  })
  const drawing = setInterval(() => rig.draw(picture, 1, { x: 0, y: 0, width: 2, height: 2 }), 5)
  const [code] = await once(child, 'close')
  clearInterval(drawing)
  assert.equal(code, 0)
  const { frames: count, merged, paths, damageBytes, latency } = JSON.parse(stdout)
  assert.ok(count > 1)
  assert.deepEqual(paths, { linear: count })
  // The first is all of the picture.
  assert.equal(damageBytes, 12_288 + 16 * (count - 1))
  assert.ok(merged >= 0)
  assert.ok(latency.median > 0 && latency.median <= latency.p99)
})

withRig('watch prints what happens until it is interrupted', false, async (rig) => {
  const child = start(rig.path, 'watch', '--json')
  const events: { readonly event: string }[] = []
  child.stdout?.on('data', (bytes: Buffer) => {
    for (const line of String(bytes).trim().split('\n')) events.push(JSON.parse(line))
  })
  const until = async (event: string) => {
    while (!events.some((one) => one.event === event)) await once(child.stdout ?? child, 'data')
  }
  const waiting = until('frame')
  const picture = rig.picture(7, 64, 48)
  rig.show(picture)
  await waiting
  const going = until('gone')
  rig.gpu.unref(7)
  await going
  assert.deepEqual(events.map(({ event }) => event).slice(0, 3), ['buffer', 'scanout', 'frame'])
  child.kill('SIGINT')
  const [code] = await once(child, 'close')
  assert.equal(code, 130)
})

withRig('a device that goes away ends who watches it, in one line', false, async (rig) => {
  const watching = frames(rig.path, 'watch')
  while (rig.server.inspect().consumers.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  rig.server.close()
  const { code, stderr } = await watching
  assert.equal(code, 125)
  assert.equal(stderr, 'outboard frames: the device is gone\n')
})

test('what is wrong is one line that says what to do, and exit code 2', { skip }, async () => {
  const rig = new FramesRig()
  const missing = path.join(rig.folder, 'missing.sock')
  const output = path.join(rig.folder, 'x.png')
  const cases: [string[], RegExp][] = [
    [[missing], /there is no .*missing\.sock: start the device with --export/],
    [[rig.folder], /no server listens on/],
    [[`/${'x'.repeat(200)}`], /a socket's path must have 1 to 107 bytes/],
    [[rig.path, 'dump'], /--output FILE/],
    [[rig.path, 'dump', '--output', output], /no screen of the guest is on/],
    [[rig.path, 'dump', '--output', output, '--scanout', '1'], /screen 1 of the guest is off/],
    [[rig.path, 'dump', '--output', output, '--buffer', '4'], /there is no buffer 4/],
    [[rig.path, 'dump', '--output', output, '--buffer', '4', '--scanout', '1'], /either --scanout or --buffer/],
    [[rig.path, 'list', '--seconds', '4'], /--seconds is for measure, not for list/],
    [[rig.path, 'paint'], /'paint' is invalid/],
    [[], /missing required argument 'path'/],
  ]
  try {
    for (const [args, says] of cases) {
      const { code, stderr } = await frames(...args)
      assert.match(stderr, says)
      assert.equal(stderr.trim().split('\n').length, 1, stderr)
      assert.equal(code, 2, `${args}: ${stderr}`)
    }
  } finally {
    await rig.close()
  }
})

test('text of a server is printed as one line that no terminal obeys', { skip }, async () => {
  const hostile = new TextEncoder().encode('a\x1b]0;title\x07\r\n\x9b2J\u202eb')
  const shown = 'a\\x1b]0;title\\x07\\x0d\\x0a\\x9b2J\\u202eb'
  const picture = { width: 0, height: 0, fourcc: 0, planeCount: 0, modifier: 0n, planes: [] }
  const buffer = encode(BUFFER, {
    description: { buffer: 1, flags: 0, uuid: new Uint8Array(16), picture },
    kind: WireKind.LINEAR,
    extents: 0,
    byteLength: 4096,
    nameBytes: hostile.length,
    reasonBytes: hostile.length,
    withheldBytes: hostile.length,
    bytes: Buffer.concat([hostile, hostile, hostile]),
  })
  const refused = encode(REFUSED, { textBytes: hostile.length, bytes: hostile })
  let refuses = false
  const folder = mkdtempSync(path.join(tmpdir(), 'outboard-hostile-frames-'))
  const socketPath = path.join(folder, 'frames.sock')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write(encode(HELLO, { magic: MAGIC, version: VERSION, flags: 0 }))
    socket.write(Buffer.concat([buffer, encode(READY, undefined)]))
    if (refuses) socket.end(refused)
  })
  try {
    await once(server.listen(socketPath), 'listening')
    const text = await frames(socketPath)
    assert.equal(
      text.stdout,
      `buffer 1  linear, ${shown}, 4096 bytes, no picture\n    ${shown}\n    not given: ${shown}\n`,
    )
    const json = await frames(socketPath, 'list', '--json')
    assert.doesNotMatch(json.stdout, /(?!\n)[\p{Cc}\p{Bidi_Control}]/u)
    assert.equal(JSON.parse(json.stdout).buffers[0].name, new TextDecoder().decode(hostile))
    refuses = true
    const watched = await frames(socketPath, 'watch')
    assert.equal(watched.stderr, `outboard frames: ${shown}\n`)
  } finally {
    server.close()
    rmSync(folder, { recursive: true })
  }
})

withRig('bytes that are not given are no picture', false, async (rig) => {
  const picture = rig.picture(7, 64, 48)
  rig.show(picture)
  const { code, stderr } = await frames(rig.path, 'dump', '--output', path.join(rig.folder, 'x.png'))
  assert.match(stderr, /^outboard frames: the bytes of resource 7 are not shared: .*--export-memory\n$/)
  assert.equal(code, 125)
})
