import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RegionLayout } from '../../src/transport/vhost-user/inflight/inflight-area.ts'
import { PACKED_LAYOUT } from '../../src/transport/vhost-user/inflight/packed-journal.ts'
import { SPLIT_LAYOUT } from '../../src/transport/vhost-user/inflight/split-journal.ts'
import { type RunningDevice, scratchFolder, startDevice } from './device-program.ts'
import { bootDiskGuest } from './disk-guest.ts'
import { qemuMissing } from './guest.ts'
import { LOAD_BYTES, LoadContents, VerifiedLoad } from './verified-load.ts'

const folder = scratchFolder()
const KILLS = Number(process.env['KILLS'] ?? 50)
const SEED = Number(process.env['KILL_SEED'] ?? Math.floor(Math.random() * 2 ** 32))
/** Writes of all writers between two kills. */
const WRITES = 8
/** Maximum delay before a kill that does not check for requests in flight. */
const MAX_MS = 100
/** Time for requests to accumulate before a check. */
const GATHER_MS = 200
/** Time limit for finding requests in flight. */
const LOOK_MS = 2000

/** Returns reproducible random numbers from 0 to 1. */
function* random(seed: number): Generator<number, never> {
  for (let state = seed >>> 0; ; ) {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    yield ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Returns the number of requests in flight of a disk process, from its in-flight area. */
class Inflight {
  readonly #fd: number

  constructor(
    { child: { pid } }: RunningDevice,
    private readonly layout: RegionLayout,
  ) {
    const folder = `/proc/${pid}/fd`
    const name = readdirSync(folder).find((fd) => readlinkSync(`${folder}/${fd}`).startsWith('/memfd:inflight'))
    if (name === undefined) throw new Error('the process keeps no account of what is in flight')
    this.#fd = openSync(`${folder}/${name}`, 'r')
  }

  count(): number {
    const { head, entry } = this.layout
    const bytes = readFileSync(`/proc/self/fd/${this.#fd}`)
    let count = 0
    // Every entry starts with its in-flight flag. Regions of several queues have the same stride.
    for (let at = head; at < bytes.length; at += entry) count += bytes[at]
    return count
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/**
 * Stops a process while it has requests in flight. The process is first paused for a while, so that it finds more
 * than one request at once: the guest is the slower of the two.
 * @returns number of requests in flight; 0 if none were found
 */
async function stopInTheMiddle({ child }: RunningDevice, inflight: Inflight, dice: Iterator<number>): Promise<number> {
  child.kill('SIGSTOP')
  await sleep(GATHER_MS)
  for (const end = performance.now() + LOOK_MS; performance.now() < end; ) {
    child.kill('SIGCONT')
    const moment = performance.now() + dice.next().value
    while (performance.now() < moment) {}
    child.kill('SIGSTOP')
    const count = inflight.count()
    if (count > 0) return count
  }
  child.kill('SIGCONT')
  return 0
}

async function kill({ child }: RunningDevice): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** Configurations of a disk, with the number of kills for each. */
const DISKS = [
  { what: 'a disk', kills: KILLS, options: [], queues: 1, packed: false },
  { what: 'a disk with a packed ring', kills: Math.ceil(KILLS / 5), options: [], queues: 1, packed: true },
  {
    ...{ what: 'a disk of two threads', kills: Math.ceil(KILLS / 5), queues: 2, packed: false },
    options: ['--queues=2', '--workers=2'],
  },
]

for (const disk of DISKS) {
  test(
    `${disk.what}, whose process is killed ${disk.kills} times in the middle of writes, loses none  @vhost-user INFLIGHT_SHMFD`,
    {
      skip: qemuMissing ?? false,
    },
    (context) => killed(disk, context),
  )
}

async function killed(disk: (typeof DISKS)[number], context: TestContext): Promise<void> {
  const { kills, options, queues, packed } = disk
  context.diagnostic(`KILL_SEED=${SEED} KILLS=${KILLS}`)
  const [image, data, socket] = ['disk.img', 'contents', 'disk.sock'].map((name) => path.join(folder, name))
  writeFileSync(image, '')
  truncateSync(image, LOAD_BYTES)
  const contents = new LoadContents(data)
  const serve = () => startDevice(['block', `--socket-path=${socket}`, `--blk-file=${image}`, ...options])
  const dice = random(SEED)
  let device = await serve()
  const guest = await bootDiskGuest({ socket, folder, data, queues, packed })
  const inflight = new Inflight(device, packed ? PACKED_LAYOUT : SPLIT_LAYOUT)
  const caught: number[] = []
  const log: string[] = []
  try {
    const load = await VerifiedLoad.start(guest, contents)
    for (let i = 0; i < kills; i++) {
      await load.progress(WRITES)
      // Some kills at a random moment, mostly while the process sleeps.
      if (dice.next().value < 0.2) await sleep(dice.next().value * MAX_MS)
      else caught.push(await stopInTheMiddle(device, inflight, dice))
      await kill(device)
      log.push(...device.log)
      device = await serve()
    }
    await load.allProgress()
    await load.stop()
    log.push(...device.log)
    const resubmitted = log.flatMap((line) => /: resuming (\d+) requests in flight$/.exec(line)?.[1] ?? [])
    context.diagnostic(`${load.total} writes; in flight when stopped: ${caught.join(' ')}`)
    context.diagnostic(`served again by the next, ring by ring: ${resubmitted.join(' ')}`)
    assert.doesNotMatch(await guest.run('dmesg'), /I\/O error|blocked for more than/)
    assert.deepEqual(load.check(image), [])
    assert.ok(resubmitted.length >= kills / 4, 'requests were in flight too rarely')
    assert.doesNotMatch(log.join('\n'), /warning|error/)
  } catch (error) {
    throw new Error(`KILL_SEED=${SEED} KILLS=${KILLS}\n${log.join('\n')}`, { cause: error })
  } finally {
    inflight.close()
    await guest.kill()
    await device.stop()
  }
}
