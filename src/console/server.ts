import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { Machine } from '../machine/machine.ts'
import { Access } from './access.ts'
import { Connections } from './connections.ts'
import { Heartbeat } from './heartbeat.ts'
import { MachineFeed } from './machine-feed.ts'
import { loadPageFiles, type PageFile } from './page-files.ts'
import { CloseCode, MAX_PAGE_MESSAGE } from './protocol.ts'
import { Tab, type TerminalOwner } from './tab.ts'

const MAX_TABS = 16
/** Time for pages to answer the close frame when the server closes. */
const CLOSE_TIMEOUT_MS = 500

/**
 * Time-outs of an HTTP connection: for its headers, its whole request, the next request, and silence in either
 * direction.
 */
const HTTP_DEADLINES = {
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 5_000,
} as const
const SILENCE_MS = 20_000

/**
 * Allows only resources of this server: no scripts, frames or pictures of other origins, and no requests to them. The
 * terminal sets colours by inline styles; since all other sources are closed, these can only affect the display.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
}

export interface ConsoleServer {
  /** Address of the page, including the token. */
  readonly url: string
  close(): Promise<void>
}

/**
 * Serves the machine's screen, keyboard, pointer, terminal and inspector to browsers on this host.
 * @throws {Error} with `code` EADDRINUSE if the port is in use
 */
export async function serveConsole(machine: Machine, options: { port: number }): Promise<ConsoleServer> {
  const files = await loadPageFiles()
  const access = new Access()
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_PAGE_MESSAGE, perMessageDeflate: false })
  const server = createServer(HTTP_DEADLINES, (request, response) => {
    if (access.check(request).allowed) connections.trust(request.socket)
    answer(request, response, access, files)
  })
  server.setTimeout(SILENCE_MS)
  const connections = new Connections(server)
  await listen(server, options.port)

  const feed = new MachineFeed(machine)
  const heartbeat = new Heartbeat(sockets.clients)
  const owner: TerminalOwner = { tab: undefined }
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const verdict = access.check(request)
    // Browsers always send an origin here: a request without one is not from the page.
    if (!verdict.allowed || request.headers.origin === undefined) return refuse(stream, 403)
    connections.trust(request.socket)
    if (verdict.path !== '/socket') return refuse(stream, 404)
    if (sockets.clients.size >= MAX_TABS) return refuse(stream, 503)
    sockets.handleUpgrade(request, stream, head, (socket) => new Tab(socket, machine, feed, owner))
  })

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${access.token}/`,
    async close() {
      heartbeat.stop()
      feed.close()
      const closed = new Promise((resolve) => server.close(resolve))
      const closing = [...sockets.clients].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
      for (const socket of sockets.clients) socket.close(CloseCode.GOING_AWAY, 'the server stops')
      const timeout = setTimeout(() => connections.destroyAll(), CLOSE_TIMEOUT_MS)
      await Promise.all(closing)
      clearTimeout(timeout)
      connections.destroyAll()
      await closed
    },
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  access: Access,
  files: ReadonlyMap<string, PageFile>,
): void {
  const verdict = access.check(request)
  const file = verdict.allowed ? files.get(verdict.path) : undefined
  if (!verdict.allowed) {
    answerText(response, 403, verdict.why)
  } else if (request.method !== 'GET' && request.method !== 'HEAD') {
    answerText(response, 405, 'Only GET and HEAD are supported.')
  } else if (verdict.path === '') {
    response.writeHead(308, { ...HEADERS, Location: `/${access.token}/` }).end()
  } else if (file) {
    response.writeHead(200, { ...HEADERS, 'Content-Type': file.contentType, 'Content-Length': file.body.length })
    response.end(request.method === 'HEAD' ? undefined : file.body)
  } else {
    answerText(response, 404, 'No such page.')
  }
}

function answerText(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { ...HEADERS, 'Content-Type': 'text/plain; charset=utf-8' }).end(`${text}\n`)
}

function refuse(stream: Duplex, status: number): void {
  stream.on('error', () => stream.destroy())
  const answer = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`
  // The peer may keep its side open for any time.
  stream.end(answer, () => stream.destroy())
}
