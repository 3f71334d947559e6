import type { Command, Report } from '../engines/guest/messages.ts'
import { createReactor } from '../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../host/linux/reactor/reactor.ts'
import type { Peers } from '../transport/socket/reception.ts'
import { serveVhostUser, type VhostUserServer } from '../transport/vhost-user/vhost-user-server.ts'
import type { BackEnd, ServedDevice } from './device-back-end.ts'
import { createLog, type Log, type LogFormat, LogLevel } from './device-log.ts'
import { openSocket, type SocketOptions } from './device-socket.ts'
import { ExitCode, exitCodeOf } from './exit-code.ts'

/** Options of every device process. */
export interface ServeOptions extends SocketOptions {
  readonly logFormat: LogFormat
}

/**
 * Serves a device until the process is told to end, or the one front-end it was given is gone.
 * @returns the exit code
 */
export async function serveBackEnd<Options>(
  backEnd: BackEnd<Options>,
  options: Options & ServeOptions,
): Promise<ExitCode> {
  const log = createLog(backEnd.name, options.logFormat, (text) => process.stderr.write(text))
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
  let served: ServedDevice | undefined
  try {
    served = await backEnd.make(options, { reactor, log, ...(process.send && { report }) })
    await serveTo(socket, served, reactor, log)
  } finally {
    socket.close()
    await served?.close?.()
    reactor.close()
  }
}

async function serveTo(socket: Peers, served: ServedDevice, reactor: Reactor, log: Log): Promise<void> {
  const { device, network } = served
  const server = serveVhostUser(device, socket, reactor, { log: (line) => log(LogLevel.INFO, line), network })
  void server.over.then(() => reactor.stop())
  const release = listen(served, server, () => {
    server.close()
    reactor.settle(server.over)
  })
  log(LogLevel.INFO, `ready, on ${reactor.kind}`)
  try {
    await reactor.run()
  } finally {
    release()
  }
}

/** Tells the machine that this process is a part of. */
function report(message: Report): void {
  process.send?.(message)
}

/** Signals, and the machine's commands. @returns what ends that */
function listen(served: ServedDevice, server: VhostUserServer, stop: () => void): () => void {
  const refresh = (): void => served.refresh?.()
  const obey = (command: Command): void => {
    if (command.type === 'inspect')
      report({ type: 'inspection', id: command.id, inspection: { devices: [server.inspect()] } })
    else served.obey?.(command)
  }
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', refresh)
  // Without its machine the device serves nobody.
  process.on('message', obey).on('disconnect', stop)
  return () => {
    process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', refresh)
    process.off('message', obey).off('disconnect', stop)
  }
}
