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

test('a disk that grows and shrinks is another size in the guest that uses it, after SIGHUP  @virtio 5.2.5', {
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
    // Somebody is at work all the time, and must not notice.
    await guest.run(`
      yes outboard | head -c ${BLOCK} >/tmp/block
      while dd if=/tmp/block of=/dev/vda bs=${BLOCK} count=1 oflag=direct conv=notrunc 2>>/tmp/errors; do :; done &
    `)
    await resize(12)
    await write(12 * MIB - BLOCK)
    const block = readFileSync(image).subarray(0, BLOCK)
    assert.match(block.toString('latin1'), /^outboard\noutboard\n/)
    assert.ok(readFileSync(image).subarray(-BLOCK).equals(block), 'what the guest wrote at the new end is not there')

    // Until somebody says so the device does not know that the file is shorter: what is gone cannot be read, and can be written.
    truncateSync(image, 4 * MIB)
    await assert.rejects(read(8 * MIB), /I\/O error|Input\/output error/)
    await read(4 * MIB - BLOCK)
    await write(6 * MIB)
    assert.equal(statSync(image).size, 6 * MIB + BLOCK)
    await resize(4)
    await assert.rejects(write(8 * MIB))
    await write(4 * MIB - BLOCK)
    assert.equal(statSync(image).size, 4 * MIB, 'a write past the end was let through')

    await resize(16)
    await read(8 * MIB)
    await guest.run(`cmp -n ${BLOCK} /tmp/read /dev/zero`)
    await write(16 * MIB - BLOCK)
    assert.ok(readFileSync(image).subarray(-BLOCK).equals(block))

    // Nobody was told of this one: the next process begins with it.
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
