import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Machine } from '../../src/machine/machine.ts'
import { ALL_ENGINES, bootGuest, guestMissing } from './guest.ts'

const MIB = 1 << 20

interface BalloonState {
  readonly target: number
  readonly actual: number
  readonly reportedBytes: number
  readonly statistics: Readonly<Record<string, number>>
  readonly memory: { readonly bytes?: number; readonly method: string }
}

/** Returns the state of the balloon when it meets the condition. */
async function balloonWhen(machine: Machine, condition: (state: BalloonState) => boolean): Promise<BalloonState> {
  let last: BalloonState | undefined
  for (let tries = 0; tries < 600; tries++) {
    const { devices } = await machine.inspect()
    last = devices.find(({ id }) => id === 5)?.state as BalloonState | undefined
    if (last && condition(last)) return last
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`the balloon stays at ${JSON.stringify(last)}`)
}

for (const engine of ALL_ENGINES) {
  test(`${engine}: a balloon takes memory from a running guest, and gives it back  @virtio 5.5.6`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({
      engine,
      devices: [{ kind: 'balloon', settings: { 'no-free-page-reporting': true } }],
    })
    const { machine } = guest
    try {
      const size = (engine === 'v86' ? 16 : 64) * MIB
      const before = await balloonWhen(machine, ({ statistics }) => statistics['freeMemory'] > 0)
      assert.equal(before.actual, 0)

      machine.resizeBalloon(size)
      const inflated = await balloonWhen(machine, ({ actual }) => actual === size)
      if (engine === 'v86') assert.match(inflated.memory.method, /^none/)
      else assert.ok(Number(inflated.memory.bytes) >= size, 'the host has the memory')
      await balloonWhen(
        machine,
        ({ statistics }) => statistics['freeMemory'] < before.statistics['freeMemory'] - size / 2,
      )

      machine.resizeBalloon(0)
      await balloonWhen(machine, ({ actual }) => actual === 0)
      // The guest uses memory that was in the balloon, and finds its own bytes in it.
      const megabytes = engine === 'v86' ? 8 : 48
      const { stdout, stderr } = await guest.run(
        `mkdir -p /tmp/m; mount -t tmpfs none /tmp/m; head -c ${megabytes}M /dev/urandom >/tmp/m/a; cp /tmp/m/a /tmp/m/b; ` +
          'cmp /tmp/m/a /tmp/m/b && echo same',
      )
      assert.equal(stdout, 'same\n', stderr)
    } finally {
      await guest.stop()
    }
  })
}

test('qemu: pages that the guest freed go to the host without a request  @virtio 5.5.6.7', {
  skip: guestMissing('qemu') ?? false,
}, async () => {
  const guest = await bootGuest({ engine: 'qemu', devices: [{ kind: 'balloon', settings: {} }] })
  try {
    // The first reports are of memory that was never used.
    await balloonWhen(guest.machine, ({ reportedBytes }) => reportedBytes > 0)
    const { status } = await guest.run(
      'mkdir -p /tmp/m; mount -t tmpfs none /tmp/m; head -c 96M /dev/zero >/tmp/m/a; rm /tmp/m/a',
    )
    assert.equal(status, 0)
    const { reportedBytes } = await balloonWhen(guest.machine, () => true)
    const { memory } = await balloonWhen(guest.machine, (now) => now.reportedBytes > reportedBytes + 64 * MIB)
    assert.ok(Number(memory.bytes) > 64 * MIB)
  } finally {
    await guest.stop()
  }
})
