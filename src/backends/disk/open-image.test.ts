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
  refused(path, /is being used by another program \(.+, process \d+\): stop that one first, or use a copy/)
  refused(path, /is being written by another program/, true)
  await writer.close()
  const readers = [FileDisk.open(path, { readOnly: true }), FileDisk.open(path, { readOnly: true })]
  refused(path, /is being used by another program/)
  for (const reader of readers) await reader.close()
  await FileDisk.open(path).close()
})

test('the lock of a process that was killed is waited for', { skip: onLinux }, async () => {
  const path = scratch.image(new Uint8Array(512))
  // The shell inherits the locked file, and holds it until the pipe ends. Standard input would end with `flock`.
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
