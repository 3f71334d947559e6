import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UnixStream } from '../../src/host/linux/unix-stream.ts'
import { RemoteDriver } from '../../src/transport/vhost-user/testing/remote-driver.ts'
import { qemuTools, scratchFolder, startDevice, toolsMissing } from './device-program.ts'
import { bootDiskGuest } from './disk-guest.ts'
import { qemuMissing } from './guest.ts'
import { LOAD_BYTES, LoadContents, VerifiedLoad } from './verified-load.ts'

const MIB = 1 << 20
const folder = scratchFolder()

function emptyImage(name: string, bytes: number): string {
  const file = path.join(folder, name)
  writeFileSync(file, '')
  truncateSync(file, bytes)
  return file
}

function serve(file: string, queues: number, workers: number) {
  const shape = [`--queues=${queues}`, `--workers=${workers}`]
  return startDevice(['block', `--socket-path=${file}.sock`, `--blk-file=${file}`, ...shape])
}

const header = (type: number, sector: number) => Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0, sector, 0, 0, 0, 0, 0, 0, 0)

test('data written through one queue is read through every other, and a disconnect ends all workers’ connections', {
  skip: ffiMissing() ?? false,
}, async () => {
  const file = emptyImage('queues.img', MIB)
  const disk = await serve(file, 5, 3)
  for (let round = 0; round < 3; round++) {
    const driver = await RemoteDriver.start(UnixStream.connect(`${file}.sock`), { queues: 5, queueSize: 64 })
    const sectors = [0, 1, 2, 3, 4].map((sector) => new Uint8Array(512).fill(round * 10 + sector + 1))
    await Promise.all(
      sectors.map(async (data, sector) => {
        const [status] = await driver.request(sector, [header(1, sector), data], [1])
        assert.deepEqual(status, Uint8Array.of(0))
      }),
    )
    const [flushed] = await driver.request(2, [header(4, 0)], [1])
    assert.deepEqual(flushed, Uint8Array.of(0))
    for (const [sector, data] of sectors.entries()) {
      const [read] = await driver.request((sector + 1) % 5, [header(0, sector)], [512, 1])
      assert.deepEqual(read, data)
      assert.deepEqual(new Uint8Array(readFileSync(file).subarray(sector * 512, sector * 512 + 512)), data)
    }
    driver.close()
  }
  assert.equal(await disk.stop(), 0, disk.log.join('\n'))
  const comings = disk.log.filter((line) => / front-end connected$/.test(line))
  assert.equal(comings.length, 3, disk.log.join('\n'))
})

test('workers without a queue, and images that only QEMU reads, are refused in one line', {
  skip: ffiMissing() ?? false,
}, async () => {
  const file = emptyImage('refused.img', MIB)
  await assert.rejects(serve(file, 2, 3), /--workers must not exceed --queues \(3 > 2\)/)
  const socket = path.join(folder, 'refused.sock')
  const qcow2 = ['--format=qcow2', '--queues=2', '--workers=2']
  await assert.rejects(
    startDevice(['block', `--socket-path=${socket}`, `--blk-file=${file}`, ...qcow2]),
    /--workers needs --format=raw/,
  )
})

test('a client of one queue reads the right data, and sees the new size of a grown image', {
  skip: toolsMissing ?? false,
}, async () => {
  const file = emptyImage('client.img', 16 * MIB)
  const disk = await serve(file, 4, 2)
  const client = `driver=virtio-blk-vhost-user,path=${file}.sock,cache.direct=on`
  try {
    const bench = ['bench', '-w', '--pattern=90', '-c', '4000', '-d', '64', '-s', '4096', '-t', 'none']
    assert.match(await runProgram(qemuTools().img, [...bench, '--image-opts', client]), /Run completed/)
    assert.match(
      await runProgram(qemuTools().img, ['compare', '--image-opts', client, `driver=file,filename=${file}`]),
      /Images are identical/,
    )
    assert.ok(
      readFileSync(file)
        .subarray(0, 4000 * 4096)
        .every((byte) => byte === 90),
    )
    truncateSync(file, 24 * MIB)
    disk.child.kill('SIGHUP')
    assert.match(await runProgram(qemuTools().io, ['--image-opts', client, '-c', 'length']), /^24 MiB/m)
  } finally {
    assert.equal(await disk.stop(), 0, disk.log.join('\n'))
  }
})

test('a guest with two processors writes correctly through both queues of two workers', {
  skip: qemuMissing ?? false,
}, async (context) => {
  const file = emptyImage('guest.img', LOAD_BYTES)
  const disk = await serve(file, 2, 2)
  const data = path.join(folder, 'contents')
  const contents = new LoadContents(data)
  const guest = await bootDiskGuest({ socket: `${file}.sock`, folder, queues: 2, data })
  try {
    assert.equal(await guest.run('ls /sys/block/vda/mq'), '0\n1')
    const load = await VerifiedLoad.start(guest, contents)
    await load.progress(40)
    // The disk grows during writes, and the driver is notified.
    truncateSync(file, LOAD_BYTES + MIB)
    disk.child.kill('SIGHUP')
    await load.allProgress()
    await load.stop()
    assert.equal(Number(await guest.run('cat /sys/block/vda/size')), (LOAD_BYTES + MIB) / 512)
    assert.deepEqual(load.check(file), [])
    // The guest has an interrupt for each queue; both were used.
    const interrupts = await guest.run('grep "$(basename "$(readlink /sys/block/vda/device)")-req" /proc/interrupts')
    context.diagnostic(interrupts)
    const counts = interrupts.split('\n').map((line) => line.trim().split(/\s+/).slice(1, 3).map(Number))
    assert.ok(counts.length === 2 && counts.every(([a, b]) => a + b > 5), interrupts)
    assert.deepEqual(
      disk.log.filter((line) => /warning|error/.test(line)),
      [],
    )
  } finally {
    await guest.kill()
    await disk.stop()
  }
})
