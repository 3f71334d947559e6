import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { createReactor } from '../../../host/linux/reactor/create-reactor.ts'
import { UnixListener } from '../../../host/linux/unix-listener.ts'
import { UnixStream } from '../../../host/linux/unix-stream.ts'
import { openDescriptors } from '../../socket/testing/open-descriptors.ts'
import { RemoteDriver } from '../testing/remote-driver.ts'
import { QueueGroupServer } from './queue-group-server.ts'
import type { EchoThreadData } from './testing/echo-thread.ts'
import { ThreadGroup } from './thread-group.ts'

const skip = ffiMissing() ?? false
const QUEUES = 5

interface Started {
  readonly groups: readonly ThreadGroup[]
  readonly logged: string[]
  readonly deaths: string[]
}

async function start(threads: number, refresh: EchoThreadData['refresh'] = 'logs'): Promise<Started> {
  const logged: string[] = []
  const deaths: string[] = []
  const data: EchoThreadData = { queueSizes: new Array(QUEUES).fill(32), refresh }
  const groups = Array.from({ length: threads }, (_, thread) =>
    ThreadGroup.start({
      file: new URL('./testing/echo-thread.js', import.meta.url),
      data,
      log: (line) => logged.push(`${thread}: ${line}`),
      warn: (line) => logged.push(`${thread}: warning: ${line}`),
      died: ({ message }) => deaths.push(`${thread}: ${message}`),
    }),
  )
  return { groups: await Promise.all(groups), logged, deaths }
}

function socketPath(context: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'queue-groups-'))
  context.after(() => rmSync(folder, { recursive: true }))
  return path.join(folder, 'echo.sock')
}

test('threads serve the rings of front-ends one after another, and leak no descriptors', { skip }, async (context) => {
  const socket = socketPath(context)
  const before = openDescriptors()
  const { groups, logged, deaths } = await start(2)
  const reactor = createReactor()
  const run = reactor.run()
  const lines: string[] = []
  const options = { name: 'echo', log: (line: string) => lines.push(line) }
  const server = new QueueGroupServer(groups, UnixListener.listen(socket), reactor, options)
  for (let round = 0; round < 3; round++) {
    const driver = await RemoteDriver.start(UnixStream.connect(socket), { queues: QUEUES, queueSize: 16 })
    for (let queue = 0; queue < QUEUES; queue++) {
      for (let i = 0; i < 20; i++)
        assert.deepEqual(await driver.request(queue, [Uint8Array.of(i)], [1]), [Uint8Array.of(i)])
    }
    const { queues, status } = await server.inspect()
    assert.deepEqual(
      queues.map(({ pushed }) => pushed),
      new Array(QUEUES).fill(20),
    )
    assert.ok(status.includes('DRIVER_OK'))
    driver.close()
  }
  server.close()
  await server.closed
  reactor.stop()
  await run
  await Promise.all(groups.map((group) => group.end()))
  reactor.close()
  assert.deepEqual(lines.filter((line) => line === 'echo: front-end disconnected').length, 3)
  assert.deepEqual(deaths, [])
  assert.deepEqual(logged.toSorted(), ['0: warning: closed', '1: warning: closed'])
  assert.equal(openDescriptors(), before)
})

test('the death of a thread is reported once, and end() then resolves', { skip }, async () => {
  const { groups, deaths } = await start(1, 'kills')
  const [group] = groups
  await group.refresh()
  while (deaths.length === 0) await new Promise(setImmediate)
  await group.end()
  assert.deepEqual(deaths, ['0: killed by a test'])
})

test('an error in a thread rejects the order with the same name, and the thread continues', { skip }, async () => {
  const { groups, deaths } = await start(1, 'fails')
  const [group] = groups
  await assert.rejects(group.refresh(), { name: 'RangeError', message: 'no' })
  assert.equal((await group.inspect()).queues.length, QUEUES)
  await group.end()
  await group.end()
  assert.deepEqual(deaths, [])
})

test('start rejects with the reason if the thread cannot start', { skip }, async () => {
  const died: string[] = []
  const starting = ThreadGroup.start({
    file: new URL('./testing/nothing.js', import.meta.url),
    data: undefined,
    log: () => {},
    warn: () => {},
    died: ({ message }) => died.push(message),
  })
  await assert.rejects(starting, /nothing\.js/)
  assert.equal(died.length, 1)
})
