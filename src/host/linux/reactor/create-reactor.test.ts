import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { ffiMissing } from '../ffi.ts'
import { createReactor } from './create-reactor.ts'
import { KINDS } from './testing/kinds.ts'

const skip = ffiMissing() ?? false

/** Program whose thread gets EPERM from io_uring_setup, as in containers. */
const refusing = (program: string) => `
  import { addressOf } from ${url('../ffi.js')}
  import { systemCall } from ${url('../system-call.js')}
  import { createReactor, uringRefused } from ${url('create-reactor.js')}
  const prctl = systemCall('int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)')
  // A seccomp filter: load the number of the system call; if it is 425, return EPERM; else allow. seccomp(2)
  // Each instruction is a code of 16 bits, two jumps of 8, and a value of 32.
  const filter = new Uint32Array([0x20, 0, 0x15 | (0 << 16) | (1 << 24), 425, 0x06, 0x0005_0001, 0x06, 0x7fff_0000])
  const program = new BigUint64Array([4n, BigInt(addressOf(filter))])
  prctl('promising', 38, 1, 0, 0, 0)
  prctl('filtering', 22, 2, addressOf(program), 0, 0)
  ${program}
`

const url = (name: string) => JSON.stringify(new URL(name, import.meta.url))

function run(program: string): string {
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', refusing(program)], { encoding: 'utf8' })
  assert.equal(child.stderr, '')
  return child.stdout
}

test('a reactor uses epoll if io_uring is refused, and reports the reason', { skip }, () => {
  const output = run(`
    const reactor = createReactor({ refused: (reason) => console.log(reason) })
    console.log(reactor.kind)
    reactor.timer(0, () => reactor.stop())
    await reactor.run()
    reactor.close()
    console.log(uringRefused())
  `)
  const reason = 'io_uring is refused (EPERM): by the sysctl kernel.io_uring_disabled, or by the container this runs in'
  assert.equal(output, `${reason}\nepoll\n${reason}\n`)
})

for (const { kind, skip: refused } of KINDS) {
  test(`the preferred kind is used if it is available: ${kind}`, { skip: refused }, () => {
    const reasons: string[] = []
    const reactor = createReactor({ prefer: kind, refused: (reason) => reasons.push(reason) })
    assert.equal(reactor.kind, kind)
    assert.deepEqual(reasons, [])
    reactor.close()
  })
}
