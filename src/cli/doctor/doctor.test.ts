import assert from 'node:assert/strict'
import { test } from 'node:test'
import { examineMachine, Level } from './checks.ts'
import { describe } from './doctor.ts'

test('a finding is a line, with what to do and what is there below it', () => {
  assert.equal(describe({ id: 'node', level: Level.OK, summary: 'Node 20.19.0' }), '  ok  Node 20.19.0\n')
  assert.equal(
    describe({ id: 'passt', level: Level.LIMITED, summary: 'no network', remedy: 'install passt' }),
    '   -  no network\n      fix: install passt\n',
  )
  assert.equal(
    describe({
      id: 'qemu',
      level: Level.MISSING,
      summary: 'QEMU 7',
      transports: { 'vhost-user-blk-pci': true, x: false },
    }),
    '  NO  QEMU 7\n        + vhost-user-blk-pci\n        - x\n',
  )
})

test('this machine, which runs the tests, has what has to be there, and each finding has its own name', async () => {
  const findings = await examineMachine()
  const ids = findings.map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length, ids.join())
  for (const id of [
    'node',
    'system-calls',
    'io_uring',
    'udmabuf',
    'kvm',
    'apt',
    'cache',
    'guest-image-i386',
    'guest-image-amd64',
    'qemu-tools',
  ]) {
    assert.ok(ids.includes(id), id)
  }
  assert.ok(ids.some((id) => id.startsWith('qemu')))
  assert.equal(findings.find(({ id }) => id === 'node')?.level, Level.OK)
})
