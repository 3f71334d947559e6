import assert from 'node:assert/strict'
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { scratchFolder, startDevice } from './device-program.ts'
import { bootDiskGuest } from './disk-guest.ts'
import { qemuMissing } from './guest.ts'

const MIB = 1 << 20
const BLOCK = 4096
const folder = scratchFolder()

test('after SIGHUP, a guest sees the new size of a grown or shrunk disk that it uses  @virtio 5.2.5', {
  skip: qemuMissing ?? false,
}, async () => {
  const image = path.join(folder, 'disk.img')
  const socket = path.join(folder, 'disk.sock')
  writeFileSync(image, new Uint8Array(8 * MIB))
  const serve = () => startDevice(['block', `--socket-path=${socket}`, `--blk-file=${image}`])
  let device = await serve()
  const guest = await bootDiskGuest({ socket, folder })
  const seen = (mebibytes: number): Promise<string> =>
    guest.run(`until [ $(cat /sys/block/vda/size) = ${(mebibytes * MIB) / 512} ]; do sleep 0.05; done`)
  const resize = async (mebibytes: number): Promise<void> => {
    truncateSync(image, mebibytes * MIB)
    device.child.kill('SIGHUP')
    await seen(mebibytes)
  }
  const dd = (operands: string, blockAt: number): Promise<string> =>
    guest.run(
      `dd ${operands} bs=${BLOCK} count=1 2>/tmp/said || { cat /tmp/said; false; }`.replaceAll('@', `${blockAt}`),
    )
  const write = (at: number): Promise<string> =>
    dd('if=/tmp/block of=/dev/vda seek=@ oflag=direct conv=notrunc', at / BLOCK)
  const read = (at: number): Promise<string> => dd('if=/dev/vda of=/tmp/read skip=@ iflag=direct', at / BLOCK)
  try {
    // A load runs meanwhile, and must not be affected.
    await guest.run(`
      yes outboard | head -c ${BLOCK} >/tmp/block
      while dd if=/tmp/block of=/dev/vda bs=${BLOCK} count=1 oflag=direct conv=notrunc 2>>/tmp/errors; do :; done &
    `)
    await resize(12)
    await write(12 * MIB - BLOCK)
    const block = readFileSync(image).subarray(0, BLOCK)
    assert.match(block.toString('latin1'), /^outboard\noutboard\n/)
    assert.ok(readFileSync(image).subarray(-BLOCK).equals(block), 'the write at the new end is missing')

    // Before SIGHUP the device does not know that the file is shorter: the removed part cannot be read, but written.
    truncateSync(image, 4 * MIB)
    await assert.rejects(read(8 * MIB), /I\/O error|Input\/output error/)
    await read(4 * MIB - BLOCK)
    await write(6 * MIB)
    assert.equal(statSync(image).size, 6 * MIB + BLOCK)
    await resize(4)
    await assert.rejects(write(8 * MIB))
    await write(4 * MIB - BLOCK)
    assert.equal(statSync(image).size, 4 * MIB, 'a write past the end was executed')

    await resize(16)
    await read(8 * MIB)
    await guest.run(`cmp -n ${BLOCK} /tmp/read /dev/zero`)
    await write(16 * MIB - BLOCK)
    assert.ok(readFileSync(image).subarray(-BLOCK).equals(block))

    // The guest was not notified of this size: the next process starts with it.
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    truncateSync(image, 20 * MIB)
    device = await serve()
    await seen(20)
    await guest.run('! grep -v records /tmp/errors')
    assert.match(await guest.run('dmesg'), /vda: detected capacity change from \d+ to 24576/)
  } finally {
    await guest.kill()
    assert.equal(await device.stop(), 0, device.log.join('\n'))
  }
})
