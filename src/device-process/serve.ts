import type { DeviceHost, DeviceKind, Served } from '../catalogue/device-kind.ts'
import { type OpenDevice, openDevice } from '../catalogue/open-device.ts'
import type { OptionTable, OptionValues } from '../catalogue/options.ts'
import { createReactor } from '../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import { createLog, type Log, type LogFormat, LogLevel } from '../log/device-log.ts'
import { CoalescedReports } from '../machine/coalesced-reports.ts'
import { isInput, type MachineCommand, type Report } from '../machine/messages.ts'
import { UsageError } from '../services/usage-error.ts'
import type { PeerSource } from '../transport/socket/accept-loop.ts'
import { QueueGroupServer } from '../transport/vhost-user/queue-groups/queue-group-server.ts'
import { serveVhostUser } from '../transport/vhost-user/vhost-user-server.ts'
import type { DeviceServer } from './device-server.ts'
import { type DeviceTransport, openSocket, type SocketOptions } from './socket.ts'

/** Options of every device process. */
export interface ServeOptions extends SocketOptions {
  readonly logFormat: LogFormat
  readonly transport: DeviceTransport
}

/** End of a device process. */
export interface ServeResult {
  /** Error that ended it; undefined after a signal, or the end of its only front-end. */
  readonly error?: unknown
}

type ServedOfKind = Served & Pick<DeviceKind, 'panel'>

/**
 * Serves a device until a signal ends the process, or its only front-end closes the connection.
 * @param write receives the log
 * @returns the error that ended it, if any; it was logged
 */
export async function serveDevice<Table extends OptionTable, Opened>(
  kind: DeviceKind<Table, Opened>,
  options: OptionValues<Table>,
  settings: ServeOptions,
  write: (text: string) => void,
): Promise<ServeResult> {
  const log = createLog(kind.name, settings.logFormat, write)
  try {
    await serve(kind, options, settings, log)
    return {}
  } catch (error) {
    log(LogLevel.ERROR, error instanceof Error ? error.message : String(error))
    return { error }
  }
}

async function serve<Table extends OptionTable, Opened>(
  kind: DeviceKind<Table, Opened>,
  options: OptionValues<Table>,
  { transport, ...settings }: ServeOptions,
  log: Log,
): Promise<void> {
  const socket = openSocket(settings, process.env)
  const reactor = createReactor({ refused: (reason) => log(LogLevel.WARNING, reason) })
  let failure: Error | undefined
  const fail = (error: Error): void => {
    failure ??= error
    reactor.stop()
  }
  const host: DeviceHost = { transport, reactor, log, fail, ...(process.send && { report }) }
  let device: OpenDevice | undefined
  try {
    device = await openDevice(kind, options, host)
    await serveTo(socket, { ...device.served, panel: kind.panel }, transport, reactor, log)
    if (failure) throw failure
  } finally {
    socket.close()
    try {
      await device?.close()
    } finally {
      // It keeps the process alive.
      reactor.close()
    }
  }
}

async function serveTo(
  socket: PeerSource,
  served: ServedOfKind,
  transport: DeviceTransport,
  reactor: Reactor,
  log: Log,
): Promise<void> {
  const server = await startServer(socket, served, transport, reactor, log)
  void server.closed.then(() => reactor.stop())
  const release = listen(served, server, () => {
    server.close()
    reactor.settle(server.closed)
  })
  const threads = 'groups' in served ? `, with ${served.groups.length} workers` : ''
  log(LogLevel.INFO, `ready, on ${reactor.kind}${threads}`)
  try {
    await reactor.run()
  } finally {
    release()
  }
}

async function startServer(
  socket: PeerSource,
  served: ServedOfKind,
  transport: DeviceTransport,
  reactor: Reactor,
  logAs: Log,
): Promise<DeviceServer> {
  const log = (line: string): void => logAs(LogLevel.INFO, line)
  if (transport === 'vfio-user') {
    if ('groups' in served) throw new UsageError('--workers needs --transport=vhost-user')
    const { startVfioUserServer } = await import('./vfio-user.ts')
    return startVfioUserServer(served.device, socket, reactor, log)
  }
  if ('groups' in served) return new QueueGroupServer(served.groups, socket, reactor, { name: served.name, log })
  const { device, extension, objects } = served
  return serveVhostUser(device, socket, reactor, { log, extension, objects })
}

// Errors are ignored: after the machine ended, `disconnect` ends this process in order.
const reports = new CoalescedReports((message) => process.send?.(message, undefined, undefined, () => {}))

/** Sends a report to the machine that this process belongs to. */
function report(message: Report): void {
  reports.report(message)
}

/** Handles signals, and commands of the machine. @returns a function that ends it */
function listen(served: ServedOfKind, server: DeviceServer, stop: () => void): () => void {
  const refresh = (): void => served.refresh?.()
  const inspect = async (id: number): Promise<void> => {
    const device = await server.inspect()
    const state = { ...device.state, ...served.inspect?.() }
    report({ type: 'inspection', id, inspection: { devices: [{ ...device, state, panel: served.panel }] } })
  }
  const execute = (command: MachineCommand): void => {
    if (command.type === 'report-received') reports.acknowledge()
    else if (command.type === 'inspect') void inspect(command.id)
    else served.handle?.(command)
    if (isInput(command)) report({ type: 'input-handled' })
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', refresh)
  // Without its machine the device serves no guest.
  process.on('message', execute).on('disconnect', stop)
  return () => {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', refresh)
    process.off('message', execute).off('disconnect', stop)
  }
}
