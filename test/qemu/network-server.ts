import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Bytes that go each way. */
const FILE_BYTES = 8 << 20

/** An HTTP server with one file to fetch; to whoever sends it something it tells the checksum. */
export interface NetworkServer {
  readonly port: number
  /** Of the file, as sha256sum prints it. */
  readonly checksum: string
  close(): void
}

export async function serveFile(address: string): Promise<NetworkServer> {
  const file = randomBytes(FILE_BYTES)
  const server = createServer(async (request, response) => {
    response.end(request.method === 'POST' ? await checksumOf(request) : file)
  })
  await once(server.listen(0, address), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    checksum: createHash('sha256').update(file).digest('hex'),
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/**
 * Has a guest fetch the file, and send one of its own: both arrive as they left.
 * @param run what executes a command in the guest, and gives what it prints
 */
export async function checkBothWays(
  run: (command: string) => Promise<string>,
  host: string,
  { port, checksum }: NetworkServer,
): Promise<void> {
  const url = `http://${host}:${port}/`
  assert.match(await run(`wget -q -O /tmp/file ${url} && sha256sum </tmp/file`), new RegExp(`^${checksum} `, 'm'))
  // What busybox sends ends with the first zero, so it is text.
  await run(`dd if=/dev/urandom bs=1M count=${FILE_BYTES >> 20} 2>/dev/null | base64 >/tmp/own`)
  const [own] = /^[0-9a-f]{64}/m.exec(await run('sha256sum </tmp/own')) ?? []
  assert.ok(own !== undefined)
  assert.match(await run(`wget -q -O - --post-file /tmp/own ${url}; echo`), new RegExp(`^${own}$`, 'm'))
}

async function checksumOf(request: IncomingMessage): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of request) hash.update(chunk)
  return hash.digest('hex')
}
