import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { test } from 'node:test'
import { Scratch } from '../../host/node/testing/scratch.ts'
import { FileDisk } from './file-disk.ts'

const scratch = new Scratch()
const onLinux = process.platform === 'linux' ? false : 'needs the locks of Linux'
/** Runs `act` as the user `nobody`, because root may write to every file. */
function asNobody(act: () => void): void {
  const root = process.geteuid?.() === 0
  if (root) process.seteuid?.(65534)
  try {
    act()
  } finally {
    if (root) process.seteuid?.(0)
  }
}

/** Asserts that opening the image throws a DiskError of one line that matches `message`. */
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

test('an image that cannot be opened is refused in one line, with a remedy', () => {
  refused(scratch.missing, /there is no disk image .*: create it.*truncate -s 1G/)
  refused(join(scratch.image(new Uint8Array(512)), 'below'), /cannot open the disk image .*: ENOTDIR/)
  refused(scratch.folder, /is a directory: name a raw disk image or a block device/)
  refused(scratch.image(new Uint8Array(0)), /smaller than one sector \(512 bytes\): set its size/)
  refused(scratch.image(new Uint8Array(511)), /smaller than one sector/)
  if (process.platform !== 'win32') refused('/dev/null', /neither a file nor a block device/)
})

test('an image without write permission can be opened read-only', async () => {
  const path = scratch.image(new Uint8Array(512))
  chmodSync(scratch.folder, 0o755)
  chmodSync(path, 0o444)
  asNobody(() => refused(path, /cannot write .* \(EACCES\): change its permissions, or open it read-only/))
  await FileDisk.open(path, { readOnly: true }).close()
})

test('an incomplete last sector is not part of the disk, with a log line', async () => {
  const path = scratch.image(new Uint8Array(1300))
  const lines: string[] = []
  const disk = FileDisk.open(path, { log: (line) => lines.push(line) })
  assert.equal(disk.byteLength, 1024)
  assert.deepEqual(lines, [`${path}: the last 276 bytes are not part of the disk: not a whole sector (512 bytes)`])
  await disk.close()
})

test('a writable image has one user, a read-only one several', { skip: onLinux }, async () => {
  const path = scratch.image(new Uint8Array(512))
  const writer = FileDisk.open(path)
  refused(path, /is being used by another program \(.+, process \d+\): stop that program, or use a copy/)
  refused(path, /is being written by another program/, true)
  await writer.close()
  const readers = [FileDisk.open(path, { readOnly: true }), FileDisk.open(path, { readOnly: true })]
  refused(path, /is being used by another program/)
  for (const reader of readers) await reader.close()
  await FileDisk.open(path).close()
})

test('opening waits for the lock of a killed process', { skip: onLinux }, async () => {
  const path = scratch.image(new Uint8Array(512))
  // The shell inherits the locked file, and holds it until the pipe closes. Standard input would close with `flock`.
  const locker = spawn('flock', [path, 'sh', '-c', 'echo locked; read rest <&3'], {
    stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
  })
  assert.ok(locker.stdout)
  await once(locker.stdout, 'data')
  const exited = once(locker, 'exit')
  locker.kill('SIGKILL')
  await exited
  const module = JSON.stringify(new URL('file-disk.js', import.meta.url))
  const script = `
    import { writeSync } from 'node:fs'
    import { FileDisk } from ${module}
    await FileDisk.open(process.argv[1], { log: (line) => writeSync(1, line) }).close()`
  const opener = spawn(process.execPath, ['--input-type=module', '-e', script, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = await once(opener.stdout, 'data')
  assert.equal(String(line), `${path}: waiting for the kernel to release the lock of a process that ended`)
  ;(locker.stdio[3] as Writable).end()
  assert.deepEqual(await once(opener, 'exit'), [0, null])
})
