import assert from 'node:assert/strict'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Scratch } from '../../host/node/testing/scratch.ts'
import { FileDisk } from './file-disk.ts'

const scratch = new Scratch()
const onLinux = process.platform === 'linux' ? false : 'needs the locks of Linux'
/** Root may write to everything: for as long as `act` takes, this process is nobody. */
function asNobody(act: () => void): void {
  const root = process.geteuid?.() === 0
  if (root) process.seteuid?.(65534)
  try {
    act()
  } finally {
    if (root) process.seteuid?.(0)
  }
}

/** Opening it is refused, in one line that fits `message`. */
function refused(path: string, message: RegExp, readOnly = false): void {
  assert.throws(
    () => FileDisk.open(path, { readOnly }),
    (error: Error) => {
      assert.equal(error.name, 'DiskError')
      assert.match(error.message, message)
      assert.ok(error.message.includes(path))
      assert.ok(!error.message.includes('\n'))
      return true
    },
  )
}

test('what is wrong with an image is said in one line, with what to do', () => {
  refused(scratch.missing, /there is no disk image .*: make one.*truncate -s 1G/)
  refused(join(scratch.image(new Uint8Array(512)), 'below'), /cannot open the disk image .*: ENOTDIR/)
  refused(scratch.folder, /is a directory: name a raw disk image or a block device/)
  refused(scratch.image(new Uint8Array(0)), /smaller than one sector: give it a size first/)
  refused(scratch.image(new Uint8Array(511)), /smaller than one sector/)
  if (process.platform !== 'win32') refused('/dev/null', /neither a file nor a block device/)
})

test('an image that may not be written can be opened to be read', async () => {
  const path = scratch.image(new Uint8Array(512))
  chmodSync(scratch.folder, 0o755)
  chmodSync(path, 0o444)
  asNobody(() => refused(path, /cannot write .* \(EACCES\): change its permissions, or open it read-only/))
  await FileDisk.open(path, { readOnly: true }).close()
})

test('an image is whole sectors: the rest of the file is left out, and that is said', async () => {
  const path = scratch.image(new Uint8Array(1300))
  const lines: string[] = []
  const disk = FileDisk.open(path, { log: (line) => lines.push(line) })
  assert.equal(disk.byteLength, 1024)
  assert.deepEqual(lines, [`${path}: its last 276 bytes are no whole sector of 512 and not part of the disk`])
  await disk.close()
})

test('an image that is written has one user, one that is read has many', { skip: onLinux }, async () => {
  const path = scratch.image(new Uint8Array(512))
  const writer = FileDisk.open(path)
  refused(path, /is being used by another program: stop that one first, or use a copy/)
  refused(path, /is being written by another program/, true)
  await writer.close()
  const readers = [FileDisk.open(path, { readOnly: true }), FileDisk.open(path, { readOnly: true })]
  refused(path, /is being used by another program/)
  for (const reader of readers) await reader.close()
  await FileDisk.open(path).close()
})
