import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { type ConsoleServer, serveConsole } from './server.ts'
import { PageClient } from './testing/page-client.ts'
import { StandInMachine } from './testing/stand-in-machine.ts'

let server: ConsoleServer
let peers: Socket[]

beforeEach(async () => {
  peers = []
  server = await serveConsole(new StandInMachine(), { port: 0 })
})
afterEach(async () => {
  for (const peer of peers) peer.destroy()
  await server.close()
})

/** Peer that never closes its side. */
async function openPeer(request = ''): Promise<Socket> {
  const peer = connect({ port: Number(new URL(server.url).port), host: '127.0.0.1', allowHalfOpen: true })
  peers.push(peer)
  peer.on('error', () => {})
  await once(peer, 'connect')
  peer.write(request)
  return peer
}

const upgrade = (path: string): string =>
  [
    `GET ${path} HTTP/1.1`,
    `Host: ${new URL(server.url).host}`,
    `Origin: ${new URL(server.url).origin}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    '\r\n',
  ].join('\r\n')

/** Resolves when the server closed or reset the peer's connection. */
async function ended(peer: Socket): Promise<void> {
  peer.resume()
  while (!peer.readableEnded && !peer.destroyed) await turn()
}

/** Resolves with the received bytes when the server closed both sides. */
async function leftBehind(peer: Socket): Promise<string> {
  let received = ''
  peer.setEncoding('latin1').on('data', (text: string) => {
    received += text
  })
  await ended(peer)
  // A write fails only if the server closed both sides.
  while (!peer.destroyed) {
    peer.write('x')
    await turn()
  }
  return received
}

test('a refused upgrade is closed, although the peer keeps its side open', async () => {
  assert.match(await leftBehind(await openPeer(upgrade('/socket'))), /^HTTP\/1\.1 403 /)
  const { pathname } = new URL(server.url)
  assert.match(await leftBehind(await openPeer(upgrade(`${pathname}elsewhere`))), /^HTTP\/1\.1 404 /)
})

test('the server closes with incomplete requests of its peers', async () => {
  const { pathname } = new URL(server.url)
  await openPeer()
  await openPeer('GET /')
  await openPeer('POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n')
  await openPeer(upgrade('/socket'))
  await openPeer(upgrade(`${pathname}nothing`))
  // A WebSocket that never answers, not even a close frame.
  await once(await openPeer(upgrade(`${pathname}socket`)), 'data')
  await server.close()
})

test('the oldest connection without the token is closed for a new one, and connections of pages stay', async () => {
  const page = await PageClient.connect(server.url)
  for (let i = 0; i < 200; i++) await openPeer(i % 2 === 0 ? '' : 'GET / HTTP/1.1\r\n')
  for (const peer of peers.slice(0, 136)) await ended(peer)
  assert.equal(page.socket.readyState, WebSocket.OPEN)
  assert.equal((await fetch(server.url)).status, 200)
  await page.settle()
})
