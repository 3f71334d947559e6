import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { knownFrontEnds } from '../engines/qemu/front-ends.ts'
import { ffiMissing } from '../host/linux/ffi.ts'
import { ExitCode } from './exit-code.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const folder = mkdtempSync(path.join(tmpdir(), 'outboard-start-up-'))
after(() => rmSync(folder, { recursive: true }))
const file = path.join(folder, 'file')
writeFileSync(file, 'no kernel')

const FRONT_ENDS = await knownFrontEnds()

/** A user that no file of this machine knows. */
const UNKNOWN_USER = '54321'
/** Mounts a file system of so many KiB, or that cannot be written, over the folder in $1, for the program after it alone. */
const ON_SMALL_DISK = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
const ON_FULL_DISK = `mount -t tmpfs -o size=64k none "$1" && { cat /dev/zero > "$1/rest" 2>/dev/null; shift; exec "$@"; }`
const ON_READ_ONLY_DISK = 'mount -t tmpfs -o ro none "$1" && shift && exec "$@"'

const namespaces = spawnSync('unshare', [
  '--user',
  '--map-root-user',
  '--mount',
  'mount',
  '-t',
  'tmpfs',
  'none',
  folder,
])
const namespacesRefused =
  namespaces.status === 0
    ? false
    : 'a user namespace, or a mount in it, is refused: allow them (sysctl kernel.unprivileged_userns_clone)'

/** Programs that are found before those of this machine. */
function programs(scripts: Readonly<Record<string, string>>): string {
  const bin = mkdtempSync(path.join(folder, 'bin-'))
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(path.join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(path.join(bin, name), 0o755)
  }
  return `${bin}:${process.env['PATH']}`
}

/** An apt whose sources are of one distribution, and that then fails in the given way. */
function apt(distribution: 'Debian' | 'Ubuntu', update = 'exit 1'): string {
  const index = `Packages ${distribution} ${distribution} mirror:/${distribution}`
  return programs({ 'apt-get': `case "$*" in indextargets*) echo '${index}';; *) ${update};; esac` })
}

/** A QEMU with all devices, and what it does for a guest. */
function qemu(guest: string): string {
  const devices = FRONT_ENDS.map((name) => `name "${name}"`)
  return programs({
    'qemu-system-x86_64': `case "$*" in
      -version) echo 'QEMU emulator version 11.1.0';;
      '-device help') echo '${devices.join('\n')}';;
      *isa-debug-exit*) exit 85;;
      *) ${guest};;
    esac`,
  })
}

type Variables = Readonly<Record<string, string | undefined>>
type Wrap = (scratch: string) => readonly string[]

interface Case {
  readonly what: string
  readonly args: readonly string[]
  readonly env?: Variables | ((scratch: string) => Variables)
  /** The program that runs the command. */
  readonly wrap?: Wrap
  readonly says: RegExp
  readonly code: number
}

const asUnknownUser: Wrap = () => ['unshare', '--user', `--map-user=${UNKNOWN_USER}`]
const inMount =
  (script: string): Wrap =>
  (scratch) => ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', script, 'sh', scratch]

/** Runs a command with a cache and a folder for short-lived files of its own, both in one new folder. */
async function outboard({ args, env = {}, wrap = () => [] }: Pick<Case, 'args' | 'env' | 'wrap'>) {
  const scratch = mkdtempSync(path.join(folder, 'scratch-'))
  const variables = typeof env === 'function' ? env(scratch) : env
  const [command, ...words] = [...wrap(scratch), process.execPath, MAIN, ...args]
  const child = spawn(command, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, XDG_CACHE_HOME: scratch, TMPDIR: scratch, OUTBOARD_DEBIAN_MIRROR: undefined, ...variables },
  })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', (text) => (said.stdout += text))
  child.stderr.on('data', (text) => (said.stderr += text))
  const [code] = await once(child, 'close')
  return { code, ...said, left: readdirSync(scratch).filter((name) => name !== 'outboard') }
}

const RUN = ['run', '--display', 'none', '--exec', 'true']
const IN_QEMU = ['run', '--engine', 'qemu', '--net', 'none', '--kernel', file, '--display', 'none', '--exec', 'true']
const HOMELESS = { HOME: undefined, XDG_CACHE_HOME: undefined, TMPDIR: undefined }
const busy = createServer().listen(0, '127.0.0.1')
await once(busy, 'listening')
after(() => busy.close())
const { port } = busy.address() as { port: number }

const CASES: readonly Case[] = [
  {
    what: 'no apt',
    args: RUN,
    env: { PATH: '' },
    says: /^outboard: cannot prepare the guest image: apt-get is not installed, .*; install apt, or boot your own kernel/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'no apt, and no QEMU',
    args: IN_QEMU,
    env: { PATH: '' },
    says: /^outboard: cannot prepare QEMU: apt-get is not installed, .*; install apt, or install a QEMU/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'sources of another distribution only',
    args: RUN,
    env: { PATH: apt('Ubuntu') },
    says: /apt on this machine has no source of Debian packages; .*name a Debian mirror: --mirror URL or OUTBOARD_DEBIAN_MIRROR=URL/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a mirror that is no address',
    args: [...RUN, '--mirror', 'deb here'],
    says: /--mirror.*Give the URL of a Debian mirror/,
    code: ExitCode.USAGE,
  },
  {
    what: 'a variable that is no address',
    args: RUN,
    env: { PATH: apt('Ubuntu'), OUTBOARD_DEBIAN_MIRROR: 'here' },
    says: /here is not the address of a mirror; set OUTBOARD_DEBIAN_MIRROR to a URL/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a mirror that cannot be reached',
    args: [...RUN, '--mirror', 'file:/nowhere/debian'],
    says: /check the network and file:\/nowhere\/debian, or name another Debian mirror: --mirror URL/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'an archive whose words are control sequences',
    args: RUN,
    env: { PATH: apt('Debian', `printf 'E: \\033[2J\\302\\233 gone\\n' >&2; exit 100`) },
    says: /apt-get ended with 100: \\x1b\[2J\\x9b gone; check the network and mirror:\/Debian/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a full disk',
    args: RUN,
    env: { PATH: apt('Debian', 'cat /dev/zero > "$PWD/more" || exit 100') },
    wrap: inMount(ON_SMALL_DISK),
    says: /the disk of \S+\/outboard is full; free some space there, or set XDG_CACHE_HOME/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a disk that was full before',
    args: RUN,
    env: { PATH: apt('Debian') },
    wrap: inMount(ON_FULL_DISK),
    says: /the disk of \S+ is full; free some space there/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a disk that cannot be written',
    args: RUN,
    env: { PATH: apt('Debian') },
    wrap: inMount(ON_READ_ONLY_DISK),
    says: /cannot write to \S+\/outboard: E.*set XDG_CACHE_HOME to a folder that this user can write to/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a cache that is no folder',
    args: RUN,
    env: { PATH: apt('Debian'), XDG_CACHE_HOME: file },
    says: /cannot write to \S+\/outboard: ENOTDIR.*set XDG_CACHE_HOME/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'no home folder, and no other',
    args: RUN,
    env: { ...HOMELESS, PATH: apt('Debian') },
    wrap: asUnknownUser,
    says: /this user has no home folder; set HOME, XDG_CACHE_HOME or TMPDIR to a folder that this user can write to/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'no home folder but TMPDIR, where the first packages would be kept',
    args: RUN,
    env: (scratch) => ({ ...HOMELESS, TMPDIR: scratch, PATH: apt('Debian', 'cat no-such-package') }),
    wrap: asUnknownUser,
    says: /apt-get ended with 1: cat: no-such-package/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'no home folder, and a folder in TMPDIR that other users can write to',
    args: RUN,
    env(scratch) {
      mkdirSync(path.join(scratch, `outboard-${UNKNOWN_USER}`))
      chmodSync(path.join(scratch, `outboard-${UNKNOWN_USER}`), 0o777)
      return { ...HOMELESS, TMPDIR: scratch }
    },
    wrap: asUnknownUser,
    says: /outboard-54321 is not a folder that only this user can write to; remove it, or set XDG_CACHE_HOME/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a TMPDIR that is not there',
    args: IN_QEMU,
    env: { PATH: qemu('exec sleep 600'), TMPDIR: '/nowhere' },
    says: /cannot make a folder in \/nowhere: ENOENT; set TMPDIR to a folder/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a TMPDIR that is full',
    args: IN_QEMU,
    env: (scratch) => ({ PATH: qemu('exec sleep 600'), TMPDIR: scratch }),
    wrap: inMount(`mount -t tmpfs -o nr_inodes=1 none "$1" && shift && exec "$@"`),
    says: /the disk of \S+ is full; free some space there, or set TMPDIR/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a TMPDIR too long for sockets',
    args: IN_QEMU,
    env(scratch) {
      const long = path.join(scratch, 'x'.repeat(100))
      mkdirSync(long)
      return { PATH: qemu('exec sleep 600'), TMPDIR: long }
    },
    says: /is too long a path for sockets in it; set TMPDIR to a shorter one/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a QEMU that refuses, in control sequences',
    args: IN_QEMU,
    env: { PATH: qemu(`printf 'qemu: \\033]0;title\\007\\302\\233no\\n' >&2; exit 1`) },
    says: /^outboard: .*QEMU exited with 1: qemu: \\x1b\]0;title\\x07\\x9bno$/,
    code: ExitCode.FAILURE,
  },
  {
    what: 'a port that is taken',
    args: [...IN_QEMU.slice(0, 7), '--display', 'web', '--port', String(port)],
    env: { PATH: qemu('exec sleep 600') },
    says: /port \d+ is taken: choose another with --port/,
    code: ExitCode.USAGE,
  },
  {
    what: 'no disk',
    args: [...RUN, '--disk', '/nowhere/disk'],
    says: /cannot read the disk \/nowhere\/disk/,
    code: ExitCode.USAGE,
  },
  {
    what: 'a device without a socket',
    args: ['device', 'entropy'],
    says: /give a socket: --socket-path/,
    code: ExitCode.USAGE,
  },
  {
    what: 'a device whose socket has no folder',
    args: ['device', 'entropy', '--socket-path=/nowhere/socket'],
    says: /the folder of \/nowhere\/socket does not exist/,
    code: ExitCode.USAGE,
  },
  {
    what: 'a device without its disk',
    args: ['device', 'block', `--socket-path=${folder}/block.sock`, '--blk-file=/nowhere/disk'],
    says: /there is no disk image \/nowhere\/disk/,
    code: ExitCode.USAGE,
  },
  {
    what: 'no frames',
    args: ['frames', '/nowhere/socket'],
    says: /there is no \/nowhere\/socket/,
    code: ExitCode.USAGE,
  },
]

for (const { what, says, code, ...how } of CASES) {
  const skip = ffiMissing() ?? (how.wrap ? namespacesRefused : false)
  test(`${what}: one line that says what to do, an exit code, and nothing left behind`, { skip }, async () => {
    const end = await outboard(how)
    const lines = end.stderr.trimEnd().split('\n')
    // Steps of the work before, and lines of the log, stand above it.
    assert.match(lines.at(-1) ?? '', says)
    assert.doesNotMatch(end.stderr, /^ {4}at |(?!\n)\p{Cc}/mu)
    assert.equal(end.code, code, end.stderr)
    assert.deepEqual(
      end.left.filter((name) => !/^(x{100}|outboard-54321)$/.test(name)),
      [],
    )
  })
}

const DOCTORS: readonly Pick<Case, 'what' | 'env' | 'wrap' | 'says'>[] = [
  {
    what: 'no programs',
    env: { PATH: '' },
    says: /kernels and QEMU cannot be fetched: apt-get is not installed/,
  },
  { what: 'no folder for short-lived files', env: { TMPDIR: '/nowhere' }, says: /ok {2}Node/ },
  {
    what: 'no home folder',
    env: { ...HOMELESS },
    wrap: asUnknownUser,
    says: /cannot be kept: this user has no home folder/,
  },
  {
    what: 'a disk that cannot be written',
    wrap: inMount(ON_READ_ONLY_DISK),
    says: /cannot be kept: cannot write to .*EROFS/,
  },
  { what: 'a full disk', wrap: inMount(ON_FULL_DISK), says: /ok {2}Node/ },
  { what: 'a QEMU that says nothing of use', env: { PATH: qemu('exit 1') }, says: /QEMU 11\.1\.0, installed/ },
  {
    what: 'a mirror that is no address',
    env: { OUTBOARD_DEBIAN_MIRROR: 'here' },
    says: /here is not the address of a mirror/,
  },
]

for (const { what, says, ...how } of DOCTORS) {
  const skip = how.wrap ? namespacesRefused : false
  test(`doctor tells all it can with ${what}`, { skip }, async () => {
    const { code, stdout, stderr, left } = await outboard({ args: ['doctor'], ...how })
    assert.equal(stderr, '')
    assert.match(stdout, says)
    assert.ok(code === ExitCode.OK || code === ExitCode.FAILURE, String(code))
    assert.deepEqual(left, [])
  })
}
