import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { I386_IMAGE } from '../../src/catalogue/guest-images.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { bootGuest, type Guest, guestMissing } from './guest.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const skip = guestMissing('v86') ?? false

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-snapshot-'))
after(() => rmSync(folder, { recursive: true }))

function makeDisk(name: string): string {
  const disk = path.join(folder, name)
  writeFileSync(disk, '')
  truncateSync(disk, 32 << 20)
  return disk
}

async function output(guest: Guest, command: string): Promise<string> {
  const { status, stdout, stderr } = await guest.run(command)
  assert.equal(status, 0, stderr)
  return stdout.trim()
}

test('a guest that writes to its disk is saved, and continues in another machine with every byte', {
  skip,
}, async () => {
  const disks = [{ path: makeDisk('writing.img'), readOnly: false }]
  const source = await bootGuest({ disks })
  // Each line has the checksum of the file so far, which is written in the background and synchronized.
  await output(
    source,
    'mke2fs /dev/vda >/dev/null 2>&1; mkdir -p /disk; mount -t ext4 /dev/vda /disk; cat >/tmp/write <<"END"\n' +
      'n=0; while [ ! -e /tmp/stop ]; do n=$((n+1)); head -c 20000 /dev/urandom >>/disk/file; sync; ' +
      'sha256sum </disk/file >/tmp/sum; echo $n >/tmp/rounds; done; echo ended >/tmp/ended\nEND\n' +
      'sh /tmp/write >/dev/null 2>&1 &',
  )
  await sleep(1500)
  const rounds = Number(await output(source, 'cat /tmp/rounds'))
  assert.ok(rounds > 0)
  const screen = await source.machine.readPixels(0)
  await source.machine.pause()
  const snapshot = await source.machine.save()
  await source.stop()

  const guest = await bootGuest({ disks, snapshot })
  try {
    assert.deepEqual(await guest.machine.readPixels(0), screen)
    const later = await output(
      guest,
      'touch /tmp/stop; until [ -e /tmp/ended ]; do sleep 0.1; done; umount /disk; mount -t ext4 /dev/vda /disk; ' +
        'sha256sum </disk/file | cmp - /tmp/sum && cat /tmp/rounds',
    )
    assert.ok(Number(later) >= rounds, `${later} rounds after ${rounds}`)
  } finally {
    await guest.stop()
  }
})

test('the terminal, the input devices and the entropy device of a restored guest work', { skip }, async () => {
  const source = await bootGuest({})
  const shown: Uint8Array[] = []
  source.machine.listen({ terminal: (bytes) => void shown.push(bytes) })
  source.machine.writeTerminal(new TextEncoder().encode('echo before-$((6*7))\r'))
  await waitFor(shown, 'before-42')
  const snapshot = await source.machine.save()
  assert.equal(await output(source, 'echo still runs'), 'still runs')
  await source.stop()

  const seen: Uint8Array[] = []
  const guest = await bootGuest({ snapshot, terminal: (bytes) => void seen.push(bytes) })
  try {
    await waitFor(seen, 'before-42')
    guest.machine.writeTerminal(new TextEncoder().encode('echo after-$((7*7))\r'))
    await waitFor(seen, 'after-49')
    assert.equal(await output(guest, 'head -c 8 /dev/hwrng | wc -c'), '8')
    await output(guest, 'for f in /dev/input/event*; do head -c 16 $f >>/tmp/key & done')
    for (let tries = 0; tries < 50 && (await guest.run('[ -s /tmp/key ]')).status !== 0; tries++) {
      guest.machine.input({ type: 'key', code: 30, pressed: tries % 2 === 0 })
      await sleep(100)
    }
    assert.equal((await guest.run('[ -s /tmp/key ]')).status, 0)
    const { devices } = await guest.machine.inspect()
    for (const { status } of devices) assert.ok(status.includes('DRIVER_OK'))
  } finally {
    await guest.stop()
  }
})

test('a restored guest has the time of the host and random numbers of its own', { skip }, async () => {
  const source = await bootGuest({})
  await output(source, 'date -s @1000000000')
  const snapshot = await source.machine.save()
  await source.stop()
  const numbers = new Set<string>()
  for (let i = 0; i < 2; i++) {
    const guest = await bootGuest({ snapshot })
    try {
      const [seconds, random] = (
        await output(guest, 'date +%s; head -c 16 /dev/urandom | hexdump -e \'16/1 "%02x"\'')
      ).split('\n')
      assert.ok(Math.abs(Number(seconds) - Date.now() / 1000) < 60, `${seconds} in the guest`)
      numbers.add(random)
    } finally {
      await guest.stop()
    }
  }
  assert.equal(numbers.size, 2)
})

test('a snapshot that was altered, or belongs to another machine, is refused with the reason', { skip }, async () => {
  const source = await bootGuest({})
  const snapshot = await source.machine.save()
  const running = source.run('sleep 2')
  await sleep(300)
  await assert.rejects(source.machine.save(), /a command is running in the guest/)
  await running
  await source.stop()
  const refused = async (bytes: Uint8Array, reason: RegExp, options = {}) => {
    await assert.rejects(bootGuest({ snapshot: bytes, ...options }), reason)
  }
  await refused(snapshot.subarray(0, 1 << 20), /the saved state has 1048564 bytes/)
  await refused(new Uint8Array(64), /not a saved state/)
  await refused(snapshot.slice().fill(0xff, 12, 64), /.../)
  await refused(snapshot, /the snapshot has the devices/, { devices: [{ kind: 'entropy', settings: {} }] })
})

test('run --save and --restore continue a guest, and refuse a disk that was changed since', { skip }, () => {
  const disk = makeDisk('cli.img')
  const file = path.join(folder, 'guest.snapshot')
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [MAIN, 'run', `--disk=${disk}`, ...args], { encoding: 'utf8' })
  const saved = run('--save', file, '--exec', 'echo kept >/root/note')
  assert.equal(saved.status, 0, saved.stderr)
  const restored = run('--restore', file, '--exec', 'cat /root/note')
  assert.deepEqual([restored.status, restored.stdout], [0, 'kept\n'], restored.stderr)
  writeFileSync(disk, readFileSync(disk).fill(1, 0, 4096))
  const refused = run('--restore', file, '--exec', 'true')
  assert.equal(refused.status, 2)
  assert.match(refused.stderr, /cli\.img is not the disk of the snapshot: it was changed since/)
  const accepted = run('--restore', file, '--changed-disks', '--exec', 'cat /root/note')
  assert.equal(accepted.status, 0)
  assert.match(accepted.stderr, /the guest may damage its file systems/)
  const inQemu = run('--engine', 'qemu', '--save', file, '--exec', 'true')
  assert.equal(inQemu.status, 2)
  assert.match(inQemu.stderr, /--save and --restore need --engine v86/)
})

test('run starts from the booted guest, and boots again if its snapshot cannot be used', { skip }, () => {
  const image = findGuestImage(I386_IMAGE)
  assert.ok(image)
  const from = path.dirname(image.kernel)
  const cache = path.join(folder, 'cache')
  const to = path.join(cache, 'outboard', path.basename(from))
  cpSync(from, to, { recursive: true, filter: (file) => !file.endsWith('.snapshot') })
  writeFileSync(path.join(to, 'booted-1.snapshot'), 'not a snapshot')
  const run = () => {
    const env = { ...process.env, XDG_CACHE_HOME: cache }
    return spawnSync(process.execPath, [MAIN, 'run', '--exec', 'echo done'], { encoding: 'utf8', env })
  }
  const again = run()
  assert.deepEqual([again.status, again.stdout], [0, 'done\n'], again.stderr)
  assert.match(again.stderr, /the snapshot of the booted guest is made again: the bytes are not a saved state/)
  const restored = run()
  assert.deepEqual([restored.status, restored.stdout], [0, 'done\n'], restored.stderr)
  assert.match(restored.stderr, /restoring the guest/)
  assert.doesNotMatch(restored.stderr, /loading the kernel/)
})

/** Waits until the pieces of an output contain a text. */
async function waitFor(pieces: readonly Uint8Array[], wanted: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (Buffer.concat(pieces).toString().includes(wanted)) return
    await sleep(50)
  }
  assert.fail(`${JSON.stringify(Buffer.concat(pieces).toString())} does not contain ${wanted}`)
}
