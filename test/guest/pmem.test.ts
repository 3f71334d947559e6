import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { bootGuest, guestMissing } from './guest.ts'

/** Programs of `e2fsprogs` may be where only root's PATH leads. */
const ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }
const SIZE = 64 << 20
const WRITTEN = 4 << 20

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-pmem-'))
after(() => rmSync(folder, { recursive: true }))

for (const engine of ['qemu', 'qemu over vfio-user'] as const) {
  test(`${engine}: the guest writes a file as persistent memory, and flushes it  @virtio 5.19.7.1`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const file = path.join(folder, `${engine}.pmem`)
    writeFileSync(file, 'from the host')
    truncateSync(file, SIZE)
    const guest = await bootGuest({ engine, devices: [{ kind: 'pmem', settings: { 'mem-path': file } }] })
    try {
      const { stdout, stderr } = await guest.run(
        'cd /sys/block/pmem0 && cat size queue/dax queue/write_cache && head -c 13 /dev/pmem0 && echo && ' +
          'head -c 4194304 /dev/urandom >/tmp/random && sha256sum </tmp/random && ' +
          'dd if=/tmp/random of=/dev/pmem0 bs=1M seek=1 conv=fsync 2>/dev/null && echo written',
      )
      const [size, dax, cache, host, sum, done] = stdout.split('\n')
      assert.equal(done, 'written', stderr)
      assert.deepEqual([Number(size) * 512, dax, cache, host], [SIZE, '1', 'write back', 'from the host'])
      const bytes = readFileSync(file).subarray(1 << 20, (1 << 20) + WRITTEN)
      assert.equal(createHash('sha256').update(bytes).digest('hex'), sum.split(' ')[0])
      const { devices } = await guest.machine.inspect()
      const state = devices.find(({ id }) => id === 27)?.state
      assert.ok(Number(state?.['flushes']) > 0, JSON.stringify(state))
    } finally {
      await guest.stop()
    }
  })
}

test('qemu: a file system in persistent memory is mounted with DAX, and the host reads its files', {
  skip: guestMissing('qemu') ?? false,
}, async () => {
  const file = path.join(folder, 'dax.pmem')
  writeFileSync(file, '')
  truncateSync(file, SIZE)
  execFileSync('mke2fs', ['-q', '-t', 'ext4', '-b', '4096', file], { env: ENV })
  const guest = await bootGuest({ engine: 'qemu', devices: [{ kind: 'pmem', settings: { 'mem-path': file } }] })
  try {
    const { stdout, stderr } = await guest.run(
      'mkdir -p /tmp/d && mount -t ext4 -o dax=always /dev/pmem0 /tmp/d && grep -o dax=always /proc/mounts && ' +
        'echo kept >/tmp/d/file && sync && umount /tmp/d && echo unmounted',
    )
    assert.equal(stdout, 'dax=always\nunmounted\n', stderr)
  } finally {
    await guest.stop()
  }
  const debugfs = execFileSync('debugfs', ['-R', 'cat file', file], {
    encoding: 'utf8',
    env: ENV,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  assert.equal(debugfs, 'kept\n')
})
