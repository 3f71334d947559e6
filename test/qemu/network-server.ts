import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Bytes in each direction. */
const FILE_BYTES = 8 << 20

/** HTTP server with one file to fetch. It answers uploads with their checksum. */
export interface NetworkServer {
  readonly port: number
  /** Checksum of the file, as from sha256sum. */
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
 * Fetches the file in a guest and uploads another one, and checks that both arrive unchanged.
 * @param run executes a command in the guest, and returns its output
 */
export async function checkBothWays(
  run: (command: string) => Promise<string>,
  host: string,
  { port, checksum }: NetworkServer,
): Promise<void> {
  const url = `http://${host}:${port}/`
  assert.match(await run(`wget -q -O /tmp/file ${url} && sha256sum </tmp/file`), new RegExp(`^${checksum} `, 'm'))
  // busybox sends only up to the first zero byte, so the file is text.
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
