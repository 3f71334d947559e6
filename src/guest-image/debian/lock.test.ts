import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { withLock } from './lock.ts'

const nothing = (): void => {}

test('one action runs at a time, and onWait is called once for each waiting caller', async () => {
  const name = `test ${process.pid}`
  const log: string[] = []
  const hold = (who: string): Promise<void> =>
    withLock(
      name,
      undefined,
      () => log.push(`${who} waits`),
      async () => {
        log.push(`${who} in`)
        await sleep(50)
        log.push(`${who} out`)
      },
    )
  const first = hold('a')
  while (!log.includes('a in')) await sleep(1)
  await Promise.all([first, hold('b'), hold('c')])
  const stays = log.filter((line) => !line.endsWith('waits'))
  assert.deepEqual([stays[0], stays[1]], ['a in', 'a out'])
  for (let i = 0; i < 6; i += 2) assert.equal(stays[i]?.replace('in', 'out'), stays[i + 1])
  assert.deepEqual(log.filter((line) => line.endsWith('waits')).sort(), ['b waits', 'c waits'])
})

test('an action that fails releases the lock', async () => {
  const name = `fails ${process.pid}`
  await assert.rejects(
    withLock(name, undefined, nothing, () => Promise.reject(new Error('went wrong'))),
    /went wrong/,
  )
  assert.equal(await withLock(name, undefined, assert.fail, async () => 7), 7)
})

test('different names are independent locks', async () => {
  await withLock(`x ${process.pid}`, undefined, nothing, () =>
    withLock(`y ${process.pid}`, undefined, assert.fail, async () => {}),
  )
})

test('waiting for a lock can be aborted', async () => {
  const name = `aborted ${process.pid}`
  await withLock(name, undefined, nothing, async () => {
    const controller = new AbortController()
    const waiting = withLock(name, controller.signal, () => controller.abort(new Error('enough')), assert.fail)
    await assert.rejects(waiting, /enough/)
  })
})

test('the lock of a killed process is released', async () => {
  const name = `killed ${process.pid}`
  const module = import.meta.url.replace('lock.test', 'lock')
  const script = `const { withLock } = await import(process.argv[1])
    await withLock(process.argv[2], undefined, () => {}, () => { console.log('in'); return new Promise((r) => setTimeout(r, 1e6)) })`
  const holder = spawn(process.execPath, ['--input-type=module', '-e', script, module, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  let waited = false
  const mine = withLock(
    name,
    undefined,
    () => {
      waited = true
      holder.kill('SIGKILL')
    },
    async () => {},
  )
  await mine
  assert.ok(waited)
})
