import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Maximum delay before the next attempt to take the lock. */
const RETRY_MS = 100

/**
 * Runs an action while no other process, and no other caller in this one, runs one under the same name.
 *
 * The lock is a listening socket in Linux's abstract namespace: the kernel gives it to one process only, and releases
 * it when the process exits for any reason. Waiting processes are connected to it, and are thus notified of the release
 * at once.
 *
 * @param onWait called once if another process holds the lock
 * @throws the signal's reason if aborted
 */
export async function withLock<T>(
  name: string,
  signal: AbortSignal | undefined,
  onWait: () => void,
  action: () => Promise<T>,
): Promise<T> {
  const address = `\0outboard-${createHash('sha256').update(`${process.getuid?.()}:${name}`).digest('hex')}`
  let server = await listen(address)
  if (!server) onWait()
  while (!server) {
    await waitForHolder(address, signal)
    server = await listen(address)
  }
  try {
    signal?.throwIfAborted()
    return await action()
  } finally {
    await close(server)
  }
}

const waiting = new WeakMap<Server, Set<{ destroy(): void }>>()

async function listen(address: string): Promise<Server | undefined> {
  const connections = new Set<{ destroy(): void }>()
  const server = createServer((connection) => {
    connections.add(connection)
    connection.on('error', () => {}).on('close', () => connections.delete(connection))
  })
  waiting.set(server, connections)
  server.listen(address)
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined
    throw error
  }
}

async function close(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const connection of waiting.get(server) ?? []) connection.destroy()
  await closed
}

async function waitForHolder(address: string, signal: AbortSignal | undefined): Promise<void> {
  const connection = connect(address)
  try {
    await new Promise<void>((resolve, reject) => {
      connection.on('error', () => {}).on('close', () => resolve())
      signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      if (signal?.aborted) reject(signal.reason)
    })
  } finally {
    connection.destroy()
  }
  await sleep(RETRY_MS * Math.random())
}
