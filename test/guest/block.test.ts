import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { ALL_ENGINES, bootGuest, ENGINES, guestMissing } from './guest.ts'

/** e2fsprogs are in sbin, which is not in the PATH of every user. */
const ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }
const MIB = 1 << 20

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-block-'))
after(() => rmSync(folder, { recursive: true }))

function missingTool(): string | undefined {
  try {
    execFileSync('debugfs', ['-V'], { env: ENV, stdio: 'ignore' })
    return undefined
  } catch {
    return 'the file system is checked with debugfs and e2fsck: apt-get install e2fsprogs'
  }
}

for (const engine of ALL_ENGINES) {
  test(`${engine}: a file system that the guest writes is on the host, byte for byte`, {
    skip: guestMissing(engine) ?? missingTool() ?? false,
  }, async () => {
    const image = path.join(folder, 'fs.img')
    const source = path.join(folder, 'source.img')
    writeFileSync(image, '')
    truncateSync(image, 48 * MIB)
    const content = randomBytes(9 * MIB)
    writeFileSync(source, content)
    const guest = await bootGuest({
      engine,
      disks: [
        { path: image, readOnly: false },
        { path: source, readOnly: true },
      ],
    })
    try {
      const made = await guest.run(
        'set -e; mke2fs /dev/vda >/dev/null 2>&1; mkdir -p /disk; mount -t ext4 /dev/vda /disk; cat /dev/vdb > /disk/copy; ' +
          'mkdir /disk/d; for i in 1 2 3 4 5 6 7 8 9; do echo "file $i" > /disk/d/$i; done; sha256sum < /disk/copy; umount /disk',
      )
      assert.equal(made.status, 0, made.stderr)
      assert.equal(made.stdout.split(' ')[0], createHash('sha256').update(content).digest('hex'))
      const refused = await guest.run('echo x > /dev/vdb')
      assert.notEqual(refused.status, 0, 'a write to a read-only disk succeeded')
    } finally {
      await guest.stop()
    }
    execFileSync('e2fsck', ['-f', '-n', image], { env: ENV, stdio: 'pipe' })
    execFileSync('debugfs', ['-R', `dump /copy ${path.join(folder, 'copy')}`, image], { env: ENV, stdio: 'pipe' })
    assert.ok(readFileSync(path.join(folder, 'copy')).equals(content), 'the file read back from the image differs')
    const small = execFileSync('debugfs', ['-R', 'cat /d/7', image], { env: ENV, stdio: ['ignore', 'pipe', 'ignore'] })
    assert.equal(small.toString(), 'file 7\n')
    assert.ok(readFileSync(source).equals(content), 'the read-only disk changed')
  })
}

for (const engine of ENGINES) {
  test(`${engine}: write-zeroes and discard have the expected effect on the image`, {
    skip: guestMissing(engine) ?? missingTool() ?? false,
  }, async () => {
    const image = path.join(folder, 'raw.img')
    const before = randomBytes(4 * MIB)
    writeFileSync(image, before)
    const guest = await bootGuest({ engine, disks: [{ path: image, readOnly: false }] })
    try {
      const done = await guest.run(
        'set -e; /usr/bin/fallocate -p -o 1048576 -l 65536 /dev/vda; sync; cat /sys/block/vda/queue/write_zeroes_max_bytes; ' +
          'cat /sys/block/vda/size; cat /sys/block/vda/queue/logical_block_size',
      )
      assert.equal(done.status, 0, done.stderr)
      const [limit, sectors, blockSize] = done.stdout.trim().split('\n').map(Number)
      assert.ok(limit > 0, 'the guest sees no write-zeroes')
      assert.equal(sectors, (4 * MIB) / 512)
      assert.equal(blockSize, 512)
    } finally {
      await guest.stop()
    }
    const expected = Buffer.from(before)
    expected.fill(0, MIB, MIB + 65536)
    assert.ok(readFileSync(image).equals(expected))
  })
}
