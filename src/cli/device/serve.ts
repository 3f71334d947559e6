import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { CoalescedReports } from '../../machine/coalesced-reports.ts'
import { isInput, type MachineCommand, type Report } from '../../machine/messages.ts'
import type { PeerSource } from '../../transport/socket/accept-loop.ts'
import { QueueGroupServer } from '../../transport/vhost-user/queue-groups/queue-group-server.ts'
import { serveVhostUser } from '../../transport/vhost-user/vhost-user-server.ts'
import { writeDiagnostic } from '../diagnostics.ts'
import { ExitCode, exitCodeOf, UsageError } from '../exit-code.ts'
import type { BackEnd, Served } from './back-end.ts'
import type { DeviceServer } from './device-server.ts'
import { createLog, type Log, type LogFormat, LogLevel } from './log.ts'
import { type DeviceProcessTransport, openSocket, type SocketOptions } from './socket.ts'

/** Options of every device process. */
export interface ServeOptions extends SocketOptions {
  readonly logFormat: LogFormat
  readonly transport: DeviceProcessTransport
}

/**
 * Serves a device until a signal ends the process, or its only front-end closes the connection.
 * @returns the exit code
 */
export async function serveBackEnd<Options>(
  backEnd: BackEnd<Options>,
  options: Options & ServeOptions,
): Promise<ExitCode> {
  const log = createLog(backEnd.name, options.logFormat, writeDiagnostic)
  try {
    await serve(backEnd, options, log)
    return ExitCode.OK
  } catch (error) {
    log(LogLevel.ERROR, error instanceof Error ? error.message : String(error))
    return exitCodeOf(error)
  }
}

async function serve<Options>(backEnd: BackEnd<Options>, options: Options & ServeOptions, log: Log): Promise<void> {
  const socket = openSocket(options, process.env)
  const reactor = createReactor({ refused: (reason) => log(LogLevel.WARNING, reason) })
  let failure: Error | undefined
  const fail = (error: Error): void => {
    failure ??= error
    reactor.stop()
  }
  let served: Served | undefined
  try {
    served = await backEnd.make(options, { reactor, log, fail, ...(process.send && { report }) })
    await serveTo(socket, served, options.transport, reactor, log)
    if (failure) throw failure
  } finally {
    socket.close()
    try {
      await served?.close?.()
    } finally {
      // It keeps the process alive.
      reactor.close()
    }
  }
}

async function serveTo(
  socket: PeerSource,
  served: Served,
  transport: DeviceProcessTransport,
  reactor: Reactor,
  log: Log,
): Promise<void> {
  const server = await startServer(socket, served, transport, reactor, log)
  void server.over.then(() => reactor.stop())
  const release = listen(served, server, () => {
    server.close()
    reactor.settle(server.over)
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
  served: Served,
  transport: DeviceProcessTransport,
  reactor: Reactor,
  tell: Log,
): Promise<DeviceServer> {
  const log = (line: string): void => tell(LogLevel.INFO, line)
  if (transport === 'vfio-user') {
    if ('groups' in served) throw new UsageError('--workers needs --transport=vhost-user')
    if (served.screen) tell(LogLevel.WARNING, 'no display: vfio-user does not transport pixels')
    const { startVfioUserServer } = await import('./vfio-user.ts')
    return startVfioUserServer(served.device, socket, reactor, log)
  }
  if ('groups' in served) return new QueueGroupServer(served.groups, socket, reactor, { name: served.name, log })
  const { device, network, screen, objects } = served
  return serveVhostUser(device, socket, reactor, { log, network, screen, objects })
}

// A machine that is gone needs no report; `disconnect` ends this process in order.
const news = new CoalescedReports((message) => process.send?.(message, undefined, undefined, () => {}))

/** Tells the machine that this process is a part of. */
function report(message: Report): void {
  news.report(message)
}

/** Signals, and the machine's commands. @returns what ends that */
function listen(served: Served, server: DeviceServer, stop: () => void): () => void {
  const refresh = (): void => served.refresh?.()
  const inspect = async (id: number): Promise<void> => {
    const device = await server.inspect()
    const state = { ...device.state, ...served.inspect?.() }
    report({ type: 'inspection', id, inspection: { devices: [{ ...device, state }] } })
  }
  const obey = (command: MachineCommand): void => {
    if (command.type === 'report-received') news.acknowledge()
    else if (command.type === 'inspect') void inspect(command.id)
    else served.handle?.(command)
    if (isInput(command)) report({ type: 'input-handled' })
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', refresh)
  // Without its machine the device has no purpose.
  process.on('message', obey).on('disconnect', stop)
  return () => {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', refresh)
    process.off('message', obey).off('disconnect', stop)
  }
}
