import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { after, beforeEach, mock, test } from 'node:test'
import { WebSocket } from 'ws'
import type { PageMessage } from './protocol.ts'
import { type ConsoleServer, serveConsole } from './server.ts'
import { PageClient } from './testing/page-client.ts'
import { StandInMachine } from './testing/stand-in-machine.ts'

const SIZE = { width: 64, height: 32 }
const WHOLE = { x: 0, y: 0, ...SIZE }

let machine: StandInMachine
const servers: ConsoleServer[] = []
let server: ConsoleServer

beforeEach(async () => {
  machine = new StandInMachine([SIZE])
  server = await serveConsole(machine, { port: 0 })
  servers.push(server)
})
after(() => Promise.all(servers.map((one) => one.close())))

/** Requests a page with headers that fetch does not allow. */
function get(url: string, headers: Record<string, string> = {}, method = 'GET') {
  return new Promise<{ status: number | undefined; headers: NodeJS.Dict<string | string[]>; body: string }>(
    (resolve, reject) => {
      request(url, { headers, method }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text
        })
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
      })
        .on('error', reject)
        .end()
    },
  )
}

/** Returns the answer to a refused WebSocket handshake. */
async function refusal(url: string, options: object): Promise<number | undefined> {
  const socket = new WebSocket(url, options)
  socket.on('error', () => {})
  const [, response] = await once(socket, 'unexpected-response')
  return response.statusCode
}

// ---- access

test('the page is served on the loopback address only, with the token in its address', () => {
  assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/)
})

test('page, script, style and icon are served with the token, and with a policy that allows no other sources', async () => {
  for (const [file, type] of [
    ['', 'text/html'],
    ['app.js', 'text/javascript'],
    ['app.css', 'text/css'],
    ['icon.svg', 'image/svg+xml'],
  ]) {
    const { status, headers, body } = await get(server.url + file)
    assert.equal(status, 200, file)
    assert.ok(body.length > 0)
    assert.ok(String(headers['content-type']).startsWith(type))
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['referrer-policy'], 'no-referrer')
    const policy = String(headers['content-security-policy'])
    for (const rule of ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'"]) {
      assert.ok(policy.includes(rule), policy)
    }
  }
})

test('requests without the token, with another host name or from another origin are refused', async () => {
  const { origin } = new URL(server.url)
  for (const path of ['/', '/app.js', '/favicon.ico', '/0123456789abcdef0123456789abcdef/']) {
    const { status, body } = await get(origin + path)
    assert.equal(status, 403, path)
    assert.ok(!body.includes('<'))
  }
  assert.equal((await get(server.url, { host: 'evil.example' })).status, 403)
  assert.equal((await get(server.url, { origin: 'http://evil.example' })).status, 403)
})

test('only GET and HEAD of existing files are served', async () => {
  assert.equal((await get(server.url, {}, 'POST')).status, 405)
  assert.equal((await get(server.url, {}, 'HEAD')).body, '')
  assert.equal((await get(`${server.url}nothing`)).status, 404)
  assert.equal((await get(`${server.url}../../package.json`)).status, 403)
  assert.equal((await get(server.url.slice(0, -1))).headers['location'], new URL(server.url).pathname)
})

test('a WebSocket needs the token, the right origin and the right host name', async () => {
  const { origin, host } = new URL(server.url)
  const socket = `${server.url}socket`
  assert.equal(await refusal(`${origin}/wrong/socket`, { origin }), 403)
  assert.equal(await refusal(socket, { origin: 'http://evil.example' }), 403)
  assert.equal(await refusal(socket, {}), 403)
  assert.equal(await refusal(socket, { origin, headers: { host: 'evil.example' } }), 403)
  assert.equal(await refusal(server.url, { origin }), 404)
  const allowed = new WebSocket(socket, { origin, headers: { host } })
  await once(allowed, 'open')
})

test('tabs above the maximum are refused', async () => {
  const clients = await Promise.all(Array.from({ length: 16 }, () => PageClient.connect(server.url)))
  assert.equal(await refusal(`${server.url}socket`, { origin: new URL(server.url).origin }), 503)
  for (const client of clients) client.close()
})

// ---- pixels

test('a new tab receives the whole screen, then only damage', async () => {
  machine.paint(0, WHOLE, (x, y) => (x << 16) | (y << 8) | 7)
  const client = await PageClient.connect(server.url)
  await client.until(() => client.screens.length === 1)
  const [first] = client.screens
  assert.deepEqual(first.mode, SIZE)
  assert.equal(first.rects[0].words.length, SIZE.width * SIZE.height)
  assert.equal(first.rects[0].words[SIZE.width * 2 + 5] & 0xffffff, 0x050207)
  client.send({ type: 'drawn', scanout: 0 })
  await client.settle()
  machine.paint(0, { x: 3, y: 4, width: 2, height: 1 }, () => 0x123456)
  await client.until(() => client.screens.length === 2)
  const [rect] = client.screens[1].rects
  assert.deepEqual([rect.x, rect.y, rect.width, rect.height], [3, 4, 2, 1])
  assert.deepEqual(
    [...rect.words].map((word) => word & 0xffffff),
    [0x123456, 0x123456],
  )
})

test('a slow tab has one frame in flight, and then receives all newer damage in one frame', async () => {
  const slow = await PageClient.connect(server.url)
  const quick = await PageClient.connect(server.url, true)
  await slow.until(() => slow.screens.length === 1)
  for (let i = 0; i < 300; i++) {
    machine.paint(0, { x: i % 64, y: (i * 7) % 32, width: 1, height: 1 }, () => i)
    if (i % 50 === 0) await quick.settle()
  }
  await slow.settle()
  assert.equal(slow.screens.length, 1)
  assert.ok(quick.screens.length > 1)
  slow.send({ type: 'drawn', scanout: 0 })
  await slow.until(() => slow.screens.length === 2)
  assert.ok(slow.screens[1].rects.length <= 8)
  await slow.settle()
  assert.equal(slow.screens.length, 2)
})

test('a change of the mode and switching off arrive with the pixels', async () => {
  const client = await PageClient.connect(server.url, true)
  machine.setMode(0, { width: 100, height: 50 })
  await client.until(() => client.screens.at(-1)?.mode?.width === 100)
  assert.equal(client.screens.at(-1)?.rects[0].words.length, 5000)
  machine.setMode(0, undefined)
  await client.until(() => client.screens.at(-1)?.mode === undefined)
})

test('a screen that appears after the tab connected is shown', async () => {
  machine.scanouts.length = 0
  const client = await PageClient.connect(server.url, true)
  await client.settle()
  assert.equal(client.screens.length, 0)
  machine.setMode(0, SIZE)
  await client.until(() => client.screens.length === 1)
  assert.deepEqual(client.screens[0].mode, SIZE)
})

test('a very large screen is sent completely, in frames of bounded size', async () => {
  const client = await PageClient.connect(server.url, true)
  await client.until(() => client.screens.length === 1)
  machine.setMode(0, { width: 4096, height: 4100 })
  machine.paint(0, { x: 0, y: 4099, width: 1, height: 1 }, () => 0x123456)
  const pixels = (): Map<number, number> => {
    const rows = client.screens.flatMap(({ mode, rects }) => (mode?.height === 4100 ? rects : []))
    return new Map(
      rows.flatMap(({ y, height, words }) => Array.from({ length: height }, (_, i) => [y + i, words[i * 4096]])),
    )
  }
  await client.until(() => pixels().size === 4100)
  assert.equal((pixels().get(4099) ?? 0) & 0xffffff, 0x123456)
  for (const { rects } of client.screens) {
    assert.ok(rects.reduce((sum, { words }) => sum + words.length, 0) <= 4096 * 4096)
  }
})

test('a cursor that changes often is sent once per frame, in its newest state', async () => {
  const client = await PageClient.connect(server.url)
  await client.until(() => client.screens.length === 1)
  for (let hotX = 0; hotX < 100; hotX++) {
    machine.setCursor(0, { width: 2, height: 2, hotX, hotY: 0, data: new Uint8Array(16) })
  }
  client.send({ type: 'drawn', scanout: 0 })
  await client.until(() => client.screens.length === 2)
  const cursors = client.frames.filter((frame) => frame.kind === 'cursor')
  assert.deepEqual(
    cursors.map(({ width, hotX }) => [width, hotX]),
    [
      [0, 0],
      [2, 99],
    ],
  )
})

// ---- terminal, state, inspector

test('a new tab receives earlier terminal output, and must not answer its queries', async () => {
  machine.print('hello \x1b[6n')
  const client = await PageClient.connect(server.url)
  await client.until(() => client.terminalText === 'hello \x1b[6n')
  machine.print('again \x1b[6n')
  client.send({ type: 'done', stream: 'terminal' })
  await client.until(() => client.terminalText.endsWith('again \x1b[6n'))
  assert.deepEqual(
    client.frames.flatMap((frame) => (frame.kind === 'terminal' ? [frame.quiet] : [])),
    [true, false],
  )
})

test('of two tabs, the one that typed last answers queries', async () => {
  const [one, two] = [await PageClient.connect(server.url), await PageClient.connect(server.url)]
  two.socket.send(new TextEncoder().encode('x'))
  await one.until(() => one.frames.some((frame) => frame.kind === 'terminal'))
  await two.until(() => two.frames.some((frame) => frame.kind === 'terminal'))
  const quiet = (client: PageClient) =>
    client.frames.flatMap((frame) => (frame.kind === 'terminal' ? [frame.quiet] : []))
  assert.deepEqual([quiet(one), quiet(two)], [[true], [false]])
  assert.deepEqual(machine.calls, ['terminal "x"'])
})

test('a tab that is slow with the terminal skips to the newest output, with a flag', async () => {
  const client = await PageClient.connect(server.url)
  machine.print('first')
  await client.until(() => client.terminalText === 'first')
  for (let i = 0; i < 100; i++) machine.print(`${'x'.repeat(9999)}\n`)
  machine.print('last')
  await client.settle()
  assert.equal(client.terminalText, 'first')
  client.isQuick = true
  client.send({ type: 'done', stream: 'terminal' })
  await client.until(() => client.terminalText.endsWith('last'))
  assert.ok(client.terminalText.length <= 256 * 1024 + 5)
  const terminal = client.frames.flatMap((frame) => (frame.kind === 'terminal' ? [frame.skipped] : []))
  assert.deepEqual(terminal.slice(0, 3), [false, true, false])
})

test('lights, log and the end of the guest are sent to tabs, including earlier ones to new tabs', async () => {
  machine.notify((listener) => listener.led?.(1, true))
  machine.notify((listener) => listener.progress?.('kernel started'))
  for (let i = 0; i < 600; i++) machine.notify((listener) => listener.log?.(`line ${i}`))
  const client = await PageClient.connect(server.url)
  await client.until(() => client.messages.length === 2)
  const [hello, state] = client.messages
  assert.deepEqual(hello, { type: 'hello' })
  assert.ok(state.type === 'state')
  assert.deepEqual(state.leds, [1])
  assert.equal(state.log.at(-1), 'line 599')
  assert.deepEqual([state.log.length, state.logSkipped], [500, 101])
  await machine.stop()
  client.send({ type: 'done', stream: 'state' })
  await client.until(() => client.messages.length === 3)
  const end = client.messages[2]
  assert.ok(end.type === 'state' && end.stopped?.kind === 'requested' && end.log.length === 0)
})

test('the inspector receives one answer at a time, with large numbers as text', async () => {
  const client = await PageClient.connect(server.url)
  for (let i = 0; i < 5; i++) client.send({ type: 'inspect' })
  await client.until(() => client.messages.some((message) => message.type === 'inspection'))
  await client.settle()
  const answers = client.messages.filter((message) => message.type === 'inspection')
  assert.equal(answers.length, 1)
  assert.equal(answers[0].devices[1].state['capacity'], '1073741824')
})

// ---- input and invalid messages

test('input reaches the machine unchanged', async () => {
  const client = await PageClient.connect(server.url)
  const messages: PageMessage[] = [
    { type: 'key', code: 30, pressed: true },
    { type: 'key', code: 30, pressed: false },
    { type: 'pointer', scanout: 0, x: 0.25, y: 1 },
    { type: 'button', code: 0x110, pressed: true },
    { type: 'wheel', vertical: -0.5, horizontal: 1 },
    { type: 'resize-terminal', columns: 91, rows: 33 },
    { type: 'resize', scanout: 0, width: 800, height: 600 },
  ]
  for (const message of messages) client.send(message)
  await client.settle()
  assert.deepEqual(machine.calls, [
    'key 30 down',
    'key 30 up',
    'pointer 0 0.250 1.000',
    'button 0x110 down',
    'wheel -0.500 1.000',
    'terminal size 91x33',
    'resize 0 800x600',
  ])
})

test('keys and buttons of a tab are released when it closes', async () => {
  const client = await PageClient.connect(server.url)
  client.send({ type: 'key', code: 42, pressed: true })
  client.send({ type: 'button', code: 0x111, pressed: true })
  await client.settle()
  client.socket.terminate()
  await client.until(() => machine.calls.length === 4)
  assert.deepEqual(machine.calls.slice(2), ['key 42 up', 'button 0x111 up'])
})

for (const [what, message, reason] of [
  ['not JSON', '{', 'not JSON'],
  ['of unknown type', '{"type":"reboot"}', 'unknown type'],
  ['for a scanout that does not exist', '{"type":"pointer","scanout":3,"x":0,"y":0}', 'no scanout 3'],
  ['an acknowledgement without a message', '{"type":"done","stream":"inspection"}', 'acknowledges what was not sent'],
] as const) {
  test(`a message that is ${what} closes that connection only, with the reason`, async () => {
    const [bad, good] = [await PageClient.connect(server.url), await PageClient.connect(server.url)]
    bad.send({ type: 'key', code: 29, pressed: true })
    bad.socket.send(message)
    bad.send({ type: 'key', code: 30, pressed: true })
    assert.deepEqual(await bad.closed(), { code: 1008, reason })
    assert.deepEqual(machine.calls, ['key 29 down', 'key 29 up'])
    good.send({ type: 'key', code: 31, pressed: true })
    await good.settle()
    assert.equal(machine.calls.at(-1), 'key 31 down')
  })
}

test('a message that is too long closes the connection', async () => {
  const client = await PageClient.connect(server.url)
  client.socket.send(new Uint8Array(16 * 1024 + 1))
  assert.equal((await client.closed()).code, 1009)
  assert.deepEqual(machine.calls, [])
})

test('the server closes with open tabs, and does not stop the machine', async () => {
  const client = await PageClient.connect(server.url)
  const closed = client.closed()
  await server.close()
  assert.equal((await closed).code, 1001)
  assert.equal(machine.listeners, 0)
})

test('a peer that does not answer pings is disconnected', async () => {
  mock.timers.enable({ apis: ['setInterval'] })
  const own = await serveConsole(machine, { port: 0 })
  try {
    const alive = await PageClient.connect(own.url)
    const { origin } = new URL(own.url)
    const dead = new WebSocket(`${own.url}socket`, { origin, autoPong: false })
    await once(dead, 'open')
    const ended = once(dead, 'close')
    mock.timers.tick(15_000)
    await alive.settle()
    mock.timers.tick(15_000)
    assert.equal((await ended)[0], 1006)
    await alive.settle()
    assert.equal(alive.socket.readyState, WebSocket.OPEN)
  } finally {
    mock.timers.reset()
    await own.close()
  }
})

test('a port that is in use is an error', async () => {
  const port = Number(new URL(server.url).port)
  await assert.rejects(serveConsole(machine, { port }), { code: 'EADDRINUSE' })
})
