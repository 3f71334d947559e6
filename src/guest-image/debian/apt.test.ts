import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, test } from 'node:test'
import { Apt, isMirror } from './apt.ts'
import { AptError } from './apt-error.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-apt-'))
after(() => rmSync(folder, { recursive: true }))
const PATH = process.env['PATH']
afterEach(() => {
  process.env['PATH'] = PATH
})

const BOOKWORM = { suite: 'bookworm', architecture: 'i386' }
const CONTENT = 'content of the package'
const SHA256 = createHash('sha256').update(CONTENT).digest('hex')
const FILE = 'tool_1%3a2.0-3_i386.deb'

/** Fake apt that records its calls, knows one package, and downloads `content` for it. */
function fakeApt({ sources = 'Packages Debian Debian mirror:/debian', content = CONTENT, update = '' } = {}): string {
  const bin = mkdtempSync(path.join(folder, 'bin-'))
  const script = `#!/bin/sh
    echo "$(basename "$0") $*" >> ${bin}/calls
    case "$*" in
      indextargets*) echo '${sources}' ;;
      *update) echo 'dlstatus:1:50.0:half' >&3; ${update} ;;
      *'download tool=1:2.0-3') printf %s '${content}' > '${FILE}'; echo 'pmstatus:x:1:y' >&3; echo 'dlstatus:1:25.5:quarter' >&3 ;;
      *'show meta:i386') printf 'Package: meta\\nVersion: 1\\nArchitecture: i386\\nDepends: tool (= 1:2.0-3), other (>= 1) | another\\nSHA256: ${SHA256}\\n' ;;
      *'show tool:i386') printf 'Package: tool\\nVersion: 1:2.0-3\\nArchitecture: i386\\nSHA256: ${SHA256}\\n\\n' ;;
      *'--no-install-recommends install tool') printf 'Reading package lists...\\nInst libtool (1 Debian:sid [i386])\\nInst tool (1:2.0-3)\\nConf tool (1:2.0-3)\\n' ;;
      *) echo "E: unexpected: $*" >&2; exit 1 ;;
    esac
  `
  for (const tool of ['apt-get', 'apt-cache']) {
    writeFileSync(path.join(bin, tool), script)
    chmodSync(path.join(bin, tool), 0o755)
  }
  process.env['PATH'] = `${bin}:${PATH}`
  return bin
}

function state(): string {
  return mkdtempSync(path.join(folder, 'state-'))
}

test('packages are fetched once, from the archive in the sources of apt on the host', async () => {
  const bin = fakeApt()
  const kept = state()
  const parts: number[] = []
  const apt = await Apt.open(kept, BOOKWORM)
  await apt.update((part) => parts.push(part))
  assert.deepEqual(await apt.dependenciesOf('meta'), ['tool', 'other'])
  const files = await apt.fetch(['tool'], (part) => parts.push(part))
  assert.deepEqual([...files], [['tool', path.join(kept, 'packages', FILE)]])
  assert.deepEqual(parts, [0.5, 0.255])
  assert.match(
    readFileSync(path.join(kept, 'sources.list'), 'utf8'),
    /^deb (\[signed-by=[^\]]+\] )?mirror:\/debian bookworm main\n$/,
  )

  await apt.fetch(['tool'], () => assert.fail('fetched again'))
  const calls = readFileSync(path.join(bin, 'calls'), 'utf8').trim().split('\n')
  assert.equal(calls.filter((call) => call.includes('download')).length, 1)
  for (const call of calls.slice(1)) assert.ok(call.includes(` -c ${path.join(kept, 'apt.conf')} `), call)
})

test('withDependencies returns a package with all its dependencies', async () => {
  fakeApt()
  const apt = await Apt.open(state(), BOOKWORM)
  assert.deepEqual(await apt.withDependencies(['tool']), ['libtool', 'tool'])
})

test('a package with a wrong checksum is refused and removed', async () => {
  fakeApt({ content: 'content of the packagE' })
  const kept = state()
  const apt = await Apt.open(kept, BOOKWORM)
  await assert.rejects(
    apt.fetch(['tool'], () => {}),
    (error) => error instanceof AptError && /^tool failed verification by the archive's checksums/.test(error.message),
  )
  assert.ok(!existsSync(path.join(kept, 'packages', FILE)))
})

test('a stored package that was modified is fetched again', async () => {
  fakeApt()
  const kept = state()
  const apt = await Apt.open(kept, BOOKWORM)
  writeFileSync(path.join(kept, 'packages', FILE), 'content of the packagE')
  const files = await apt.fetch(['tool'], () => {})
  assert.equal(readFileSync(files.get('tool') ?? '', 'utf8'), CONTENT)
})

test('sources of other systems and other kinds of index are ignored', async () => {
  const others =
    'Packages Ubuntu Ubuntu mirror:/ubuntu\nSources Debian Debian mirror:/sources\nPackages Debian Debian-Security mirror:/s'
  fakeApt({ sources: others })
  await assert.rejects(
    Apt.open(state(), BOOKWORM),
    /no source of Debian packages; .*name a Debian mirror: --mirror URL or OUTBOARD_DEBIAN_MIRROR=URL/,
  )
  // If the host never fetched its lists, apt prints the format strings unchanged.
  fakeApt({ sources: 'Packages $(ORIGIN) $(LABEL) mirror:/security\nPackages $(ORIGIN) $(LABEL) mirror:/debian' })
  const kept = state()
  await Apt.open(kept, BOOKWORM)
  assert.match(readFileSync(path.join(kept, 'sources.list'), 'utf8'), / mirror:\/debian bookworm/)
})

test('a given mirror takes precedence over the sources of the host', async () => {
  const others = 'Packages Ubuntu Ubuntu mirror:/ubuntu'
  const sourcesOf = (kept: string): string => readFileSync(path.join(kept, 'sources.list'), 'utf8')
  const kept = state()
  fakeApt({ sources: others })
  await Apt.open(kept, { ...BOOKWORM, mirror: 'https://mirror.example:8080/debian' })
  assert.match(sourcesOf(kept), / https:\/\/mirror\.example:8080\/debian bookworm main\n$/)
  process.env['OUTBOARD_DEBIAN_MIRROR'] = 'file:/srv/debian'
  try {
    await Apt.open(kept, BOOKWORM)
    assert.match(sourcesOf(kept), / file:\/srv\/debian bookworm main\n$/)
    await Apt.open(kept, { ...BOOKWORM, mirror: 'http://[::1]/debian' })
    assert.match(sourcesOf(kept), / http:\/\/\[::1\]\/debian bookworm main\n$/)
  } finally {
    delete process.env['OUTBOARD_DEBIAN_MIRROR']
  }
  for (const mirror of [
    'debian',
    'http://a/ b',
    'http://a/\ndeb http://b/',
    '[trusted=yes] http://a/',
    'http://a/#',
    '',
  ]) {
    assert.ok(!isMirror(mirror), mirror)
  }
  fakeApt({ update: 'echo "E: No route" >&2; exit 100' })
  const apt = await Apt.open(kept, { ...BOOKWORM, mirror: 'https://user:secret@mirror.example/debian' })
  await assert.rejects(
    apt.update(() => {}),
    (error) => {
      assert.ok(error instanceof AptError)
      assert.match(error.message, /No route; check the network and https:\/\/mirror\.example\/debian, or/)
      return true
    },
  )
})

test('an unreachable archive is an error of one line with a remedy', async () => {
  fakeApt({ update: 'echo "E: Could not resolve the mirror" >&2; exit 100' })
  const apt = await Apt.open(state(), BOOKWORM)
  await assert.rejects(
    apt.update(() => {}),
    (error) => {
      assert.ok(error instanceof AptError)
      assert.match(
        error.message,
        /Could not resolve the mirror; check the network and mirror:\/debian, or name another Debian mirror/,
      )
      assert.ok(!error.message.includes('\n'))
      return true
    },
  )
})
