import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { until } from '../until.ts'
import { type RunningDevice, scratchFolder, startDevice } from './device-program.ts'
import { bootDiskGuest } from './disk-guest.ts'
import { qemuMissing } from './guest.ts'
import { LOAD_BYTES, LoadContents, VerifiedLoad } from './verified-load.ts'

const folder = scratchFolder()
const ROUNDS = 3
/** Writes acknowledged before a front-end is killed. */
const WRITES = 40

const descriptors = ({ child: { pid } }: RunningDevice): number => readdirSync(`/proc/${pid}/fd`).length

/** Returns shared memory that a process has mapped: guest memory, and the in-flight area. */
function foreignMemory({ child: { pid } }: RunningDevice): string[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .filter((line) => line.includes('/memfd:'))
}

test(`the process of a disk releases everything of a QEMU that was killed during writes, and serves the next one, ${ROUNDS} times`, {
  skip: qemuMissing ?? false,
}, async () => {
  const [image, data, socket] = ['disk.img', 'contents', 'disk.sock'].map((name) => path.join(folder, name))
  const contents = new LoadContents(data)
  writeFileSync(image, new Uint8Array(LOAD_BYTES))
  const device = await startDevice(['block', `--socket-path=${socket}`, `--blk-file=${image}`])
  try {
    const before = descriptors(device)
    assert.deepEqual(foreignMemory(device), [])
    for (let round = 1; round <= ROUNDS; round++) {
      writeFileSync(image, new Uint8Array(LOAD_BYTES), { flag: 'r+' })
      const guest = await bootDiskGuest({ socket, folder, data })
      try {
        const load = await VerifiedLoad.start(guest, contents)
        await load.progress(WRITES)
        assert.ok(foreignMemory(device).length > 0, 'guest memory is not mapped while the guest is served')
        await guest.kill()
        await until(`${before} descriptors, as before any front-end`, () => descriptors(device) === before)
        assert.deepEqual(foreignMemory(device), [])
        assert.deepEqual(load.check(image, false), [], `round ${round}`)
      } finally {
        await guest.kill()
      }
      const gone = () => device.log.filter((line) => line.endsWith('front-end disconnected')).length
      await until('the log tells of the end', () => gone() === round)
    }
  } finally {
    assert.equal(await device.stop(), 0, device.log.join('\n'))
  }
  assert.doesNotMatch(device.log.join('\n'), /warning|error/)
})
