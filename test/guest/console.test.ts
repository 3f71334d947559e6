import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { until } from '../until.ts'
import { ALL_ENGINES, bootGuest, ENGINES, type Guest, guestMissing } from './guest.ts'

/** Resolves when the output of the terminal matches. */
async function terminalShows(guest: Guest, pattern: RegExp, act: () => void): Promise<string> {
  const decoder = new TextDecoder()
  let shown = ''
  const stopListening = guest.machine.listen({
    terminal: (bytes) => {
      shown += decoder.decode(bytes, { stream: true })
    },
  })
  try {
    act()
    await until(
      () => `the terminal shows ${pattern}, but ${JSON.stringify(shown)}`,
      () => pattern.test(shown),
    )
    return shown
  } finally {
    stopListening()
  }
}

for (const engine of ALL_ENGINES) {
  test(`${engine}: the console transfers input and output, and follows the size of its window  @virtio 5.3.6`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    try {
      await terminalShows(guest, /\r\n42\r\n/, () => guest.machine.writeTerminal(Buffer.from('\necho $((6 * 7))\n')))
      guest.machine.input({ type: 'resize-terminal', columns: 91, rows: 33 })
      await terminalShows(guest, /33 91/, () => guest.machine.writeTerminal(Buffer.from('stty size\n')))
    } finally {
      await guest.stop()
    }
  })
}

for (const engine of ENGINES) {
  test(`${engine}: megabytes of input at once arrive completely`, { skip: guestMissing(engine) ?? false }, async () => {
    const guest = await bootGuest({ engine })
    try {
      const typed = randomBytes(1_500_000)
      await terminalShows(guest, /\r\ngo\r?\n/, () =>
        guest.machine.writeTerminal(
          Buffer.from(`stty raw -echo; echo go; head -c ${typed.length} | sha256sum; stty sane\n`),
        ),
      )
      const sum = createHash('sha256').update(typed).digest('hex')
      await terminalShows(guest, new RegExp(sum), () => guest.machine.writeTerminal(typed))
    } finally {
      await guest.stop()
    }
  })

  test(`${engine}: output that is not accepted waits in the guest, and arrives completely`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    try {
      let take = (): void => {}
      const held = new Promise<void>((resolve) => {
        take = resolve
      })
      let length = 0
      const done = guest.machine.exec('head -c 3000000 /dev/zero', {
        stdout: (bytes) => {
          length += bytes.length
          return held
        },
        stderr: () => {},
      })
      // The guest answers while its command is blocked.
      await terminalShows(guest, /\r\n42\r\n/, () => guest.machine.writeTerminal(Buffer.from('\necho $((6 * 7))\n')))
      assert.ok(length <= 256 << 10, `${length} bytes came`)
      take()
      assert.deepEqual([await done, length], [0, 3_000_000])
    } finally {
      await guest.stop()
    }
  })

  test(`${engine}: output, error output and status of a command are separate, for any bytes`, {
    skip: guestMissing(engine) ?? false,
  }, async () => {
    const guest = await bootGuest({ engine })
    try {
      const both = await guest.run('echo out; echo err >&2; exit 7')
      assert.deepEqual([both.status, both.stdout, both.stderr], [7, 'out\n', 'err\n'])
      const blob = randomBytes(3000).toString('hex')
      const echoed = await guest.run(`printf %s ${blob} | sha256sum`)
      assert.equal(echoed.stdout.split(' ')[0], createHash('sha256').update(blob).digest('hex'))
      const long = await guest.run('head -c 1000000 /dev/zero | tr "\\0" x')
      assert.equal(long.stdout.length, 1_000_000)
      const [first, second] = await Promise.all([guest.run('sleep 0.3; echo 1'), guest.run('echo 2')])
      assert.deepEqual([first.stdout, second.stdout], ['1\n', '2\n'])
    } finally {
      await guest.stop()
    }
  })
}
