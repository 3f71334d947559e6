import assert from 'node:assert/strict'
import { once } from 'node:events'
import { afterEach, beforeEach, mock, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { TERMINAL_WINDOW } from './protocol.ts'
import { type ConsoleServer, serveConsole } from './server.ts'
import { PageClient } from './testing/page-client.ts'
import { StandInMachine } from './testing/stand-in-machine.ts'

/** Bytes that a socket emits at once: they may be read although the page is paused. */
const READ_AHEAD = 128 * 1024

let machine: StandInMachine
let server: ConsoleServer
let catchUp: () => void

beforeEach(async () => {
  machine = new StandInMachine()
  machine.behind = new Promise((resolve) => {
    catchUp = () => {
      machine.behind = undefined
      resolve()
    }
  })
  server = await serveConsole(machine, { port: 0 })
})
afterEach(() => server.close())

function typed(): string {
  return machine.calls
    .flatMap((call) => (call.startsWith('terminal "') ? [JSON.parse(call.slice(9)) as string] : []))
    .join('')
}

function keys(): number {
  return machine.calls.filter((call) => call.startsWith('key ')).length
}

/** Waits until the server has read what it can. */
async function settleWith(other: PageClient): Promise<void> {
  for (let i = 0; i < 20; i++) await other.settle()
}

test('a page that sends more than its window is not read until the machine accepts its input, and loses nothing', async () => {
  const [greedy, other] = [await PageClient.connect(server.url), await PageClient.connect(server.url)]
  const text = Array.from({ length: 400_000 }, (_, i) => i.toString(36)).join('')
  for (let at = 0; at < text.length; at += 4096) greedy.socket.send(Buffer.from(text.slice(at, at + 4096)))
  await greedy.until(() => typed().length > TERMINAL_WINDOW)
  await settleWith(other)
  assert.ok(typed().length <= TERMINAL_WINDOW + READ_AHEAD, `${typed().length} bytes were read`)
  catchUp()
  await greedy.until(() => typed().length === text.length)
  assert.equal(typed(), text)
})

test('input is acknowledged to the page after the machine accepted it', async () => {
  const page = await PageClient.connect(server.url)
  const acknowledged = (): number =>
    page.messages.reduce((sum, message) => sum + (message.type === 'typed' ? message.bytes : 0), 0)
  for (let i = 0; i < 16; i++) page.socket.send(Buffer.alloc(4096, 'x'))
  await page.settle()
  assert.equal(acknowledged(), 0)
  // The page respects its window: its keys and acknowledgements are still read.
  page.send({ type: 'resize-terminal', columns: 80, rows: 25 })
  await page.until(() => machine.calls.includes('terminal size 80x25'))
  catchUp()
  await page.until(() => acknowledged() === TERMINAL_WINDOW)
})

test('empty input has no effect', async () => {
  const page = await PageClient.connect(server.url)
  for (let i = 0; i < 10_000; i++) page.socket.send(Buffer.alloc(0))
  page.send({ type: 'resize-terminal', columns: 80, rows: 25 })
  await page.until(() => machine.calls.length > 0)
  assert.deepEqual(machine.calls, ['terminal size 80x25'])
})

test('keys wait in the page while the machine is behind, and arrive in order', async () => {
  const [greedy, other] = [await PageClient.connect(server.url), await PageClient.connect(server.url)]
  const count = 20_000
  for (let i = 0; i < count; i++) greedy.send({ type: 'key', code: 1 + (i % 700), pressed: true })
  await greedy.until(() => keys() > 0)
  await settleWith(other)
  assert.ok(keys() * 40 <= READ_AHEAD, `${keys()} keys were read`)
  catchUp()
  await greedy.until(() => keys() === count)
  assert.deepEqual(
    machine.calls,
    Array.from({ length: count }, (_, i) => `key ${1 + (i % 700)} down`),
  )
})

test('a paused page is not disconnected as silent', async () => {
  mock.timers.enable({ apis: ['setInterval'] })
  const own = await serveConsole(machine, { port: 0 })
  try {
    const [held, other] = [await PageClient.connect(own.url), await PageClient.connect(own.url)]
    held.send({ type: 'key', code: 30, pressed: true })
    await held.until(() => keys() === 1)
    for (let i = 0; i < 4; i++) {
      mock.timers.tick(15_000)
      await other.settle()
    }
    catchUp()
    await held.settle()
    assert.equal(held.socket.readyState, WebSocket.OPEN)
  } finally {
    mock.timers.reset()
    await own.close()
  }
})

test('a page whose input is never accepted is disconnected', async () => {
  const page = await PageClient.connect(server.url)
  await page.settle()
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    page.send({ type: 'key', code: 30, pressed: true })
    while (keys() === 0) await turn()
    const ended = once(page.socket, 'close')
    mock.timers.tick(120_000)
    assert.equal((await ended)[0], 1006)
  } finally {
    mock.timers.reset()
  }
})
