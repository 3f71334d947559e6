import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { decode } from 'fast-png'
import { BARE_SCREEN } from './bare-screen.ts'
import { guestMissing } from './guest.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const skip = guestMissing('v86') ?? false

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-cli-'))
after(() => rmSync(folder, { recursive: true }))
const disk = path.join(folder, 'some.img')
writeFileSync(disk, '')
truncateSync(disk, 8 << 20)

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
}

async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (bytes) => {
    stdout += bytes
  })
  child.stderr?.on('data', (bytes) => {
    stderr += bytes
  })
  const [status] = await once(child, 'close')
  return { status, stdout, stderr }
}

/** Resolves when the guest's kernel started, and thus its disks are open. */
async function boots({ stderr }: ChildProcess): Promise<void> {
  await new Promise<void>((resolve) =>
    stderr?.on('data', (bytes) => String(bytes).includes('kernel started') && resolve()),
  )
}

const outboard = (...args: readonly string[]): Promise<Ended> => ended(start(args))

test('--exec prints only the output of the command, and exits with its status', { skip }, async () => {
  const listed = await outboard(
    ...['run', '--display', 'none', '--disk', disk],
    ...['--exec', 'uname -r && ls /dev/vda /dev/hwrng /dev/fb0'],
  )
  assert.match(listed.stdout, /^6\.\d+\.\d+-\d+-686\n\/dev\/fb0\n\/dev\/hwrng\n\/dev\/vda\n$/, listed.stderr)
  assert.equal(listed.status, 0)
  const failed = await outboard('run', '--display', 'none', '--exec', 'false')
  assert.deepEqual([failed.status, failed.stdout], [1, ''])
})

test('--screenshot saves the exact screen at the end', { skip }, async () => {
  const shot = path.join(folder, 'shot.png')
  const pixel = '\\020\\040\\200\\000'
  // In large pieces: of a write of just one row, Linux 6.1 takes it that nothing changed.
  const draw =
    `printf '${pixel}' > /tmp/a; i=0; ` +
    'while [ $i -lt 20 ]; do cat /tmp/a /tmp/a > /tmp/b; mv /tmp/b /tmp/a; i=$((i+1)); done; ' +
    `${BARE_SCREEN}; dd if=/tmp/a of=/dev/fb0 bs=1M count=3 2>/dev/null`
  const done = await outboard('run', '--display', 'none', '--screenshot', shot, '--exec', draw)
  assert.equal(done.status, 0, done.stderr)
  const image = decode(readFileSync(shot))
  assert.deepEqual([image.width, image.height], [1024, 768])
  for (let i = 0; i < image.data.length; i += 3) {
    if (image.data[i] !== 0x80 || image.data[i + 1] !== 0x20 || image.data[i + 2] !== 0x10) {
      assert.fail(`pixel ${i / 3} is ${[...image.data.subarray(i, i + 3)]}`)
    }
  }
})

test('a missing disk, a wrong option or a wrong value results in one line and exit code 2', async () => {
  const cases: [string[], RegExp][] = [
    [['--disk', 'missing.img'], /missing\.img/],
    [['--memory', '12'], /--memory/],
    [['--engine', 'none'], /--engine/],
    [['--nonsense'], /--nonsense/],
    [['--transport', 'vfio-user'], /--transport needs --engine qemu/],
    [['--transport', 'vsock'], /--transport/],
    [['--net', 'passt'], /--net needs --engine qemu/],
    [['--net', 'tap'], /tap:NAME/],
    [['--engine', 'qemu', '--net', 'tap:lo'], /--net tap: |needs device processes/],
    [['--kernel', 'missing.bz'], /missing\.bz/],
    [['--initrd', disk], /--kernel/],
  ]
  for (const [args, says] of cases) {
    const { status, stdout, stderr } = await outboard('run', '--display', 'none', '--exec', 'true', ...args)
    assert.equal(status, 2, `${args}: ${stderr}`)
    assert.equal(stdout, '')
    assert.match(stderr, says)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
})

test('a disk that another guest uses results in one line and exit code 2', { skip }, async () => {
  const first = start(['run', '--display', 'none', '--disk', disk])
  const firstEnd = ended(first)
  await boots(first)
  const { status, stderr } = await outboard('run', '--display', 'none', '--disk', disk, '--exec', 'true')
  first.kill('SIGINT')
  await firstEnd
  assert.equal(status, 2, stderr)
  assert.match(stderr, /some\.img is being used by another program/)
})

test('--timeout exits with 124, and leaves no process', { skip }, async () => {
  const child = start(['run', '--display', 'none', '--timeout', '1'])
  const { status, stderr } = await ended(child)
  assert.equal(status, 124, stderr)
  assert.throws(() => process.kill(Number(child.pid), 0), /ESRCH/)
})

test('Ctrl-C stops a booting guest, with its disk', { skip }, async () => {
  const child = start(['run', '--display', 'none', '--disk', disk])
  const end = ended(child)
  await boots(child)
  child.kill('SIGINT')
  const { status, stderr } = await end
  assert.equal(status, 130, stderr)
})

for (const engine of ['v86', 'qemu'] as const) {
  test(`in ${engine}, a command exits with its own status if the log has no reader`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const scratch = mkdtempSync(path.join(folder, 'scratch-'))
    const words = ['run', '--engine', engine, '--display', 'none', '--exec', 'echo out; echo err >&2; exit 7']
    const child = spawn(process.execPath, [MAIN, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: scratch },
    })
    child.stderr.once('data', () => child.stderr.destroy())
    const { status, stdout } = await ended(child)
    assert.deepEqual([status, stdout], [7, 'out\n'])
    assert.deepEqual(readdirSync(scratch), [])
  })
}

test('--help shows examples, and --version prints the version of the package', async () => {
  const help = await outboard('run', '--help')
  assert.equal(help.status, 0)
  for (const word of ['--disk', '--exec', 'Examples:', 'Exit codes:']) assert.ok(help.stdout.includes(word), word)
  const version = await outboard('--version')
  const { version: expected } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  assert.equal(version.stdout.trim(), expected)
  assert.ok(existsSync(MAIN))
})
