import { Option } from 'commander'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { isListening, UnixStream } from '../../host/linux/unix-stream.ts'
import { UsageError } from '../exit-code.ts'
import { wholeNumber } from '../run/run-options.ts'

/** What is spoken over the socket. */
const TRANSPORTS = ['vhost-user', 'vfio-user'] as const
export type DeviceProcessTransport = (typeof TRANSPORTS)[number]

/** Where a back-end meets its front-ends. */
export interface SocketOptions {
  readonly socketPath?: string
  readonly fd?: number
}

/** The first descriptor that systemd gives. @see sd_listen_fds(3) */
const FIRST_ACTIVATED = 3

export const transportOption = new Option('--transport <protocol>', 'what the monitor speaks')
  .choices(TRANSPORTS)
  .default('vhost-user')

export const socketOptions = [
  new Option('--socket-path <path>', 'listen on a Unix socket'),
  new Option('--fd <number>', 'a socket this process was given, listening or connected').argParser(
    wholeNumber(0, 1 << 20),
  ),
]

/**
 * The socket the options name, or else the one systemd gives.
 * @throws {UsageError}
 */
export function openSocket(options: SocketOptions, environment: NodeJS.ProcessEnv): UnixListener | UnixStream {
  const { socketPath, fd = activatedFd(environment) } = options
  if (socketPath !== undefined && options.fd !== undefined) {
    throw new UsageError('give either --socket-path or --fd, not both')
  }
  try {
    if (socketPath !== undefined) return UnixListener.listen(socketPath)
    if (fd !== undefined) return socketOf(new Descriptor(fd, `descriptor ${fd}`))
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error
    throw new UsageError(socketProblem(error, socketPath ?? `descriptor ${fd}`))
  }
  throw new UsageError('give a socket: --socket-path PATH, --fd NUMBER, or one from systemd')
}

/** The one descriptor systemd gives, if it gives any to this process. */
export function activatedFd(environment: NodeJS.ProcessEnv): number | undefined {
  const { LISTEN_PID, LISTEN_FDS } = environment
  if (LISTEN_PID !== String(process.pid)) return undefined
  if (LISTEN_FDS !== '1') throw new UsageError(`a device has one socket, and systemd gives ${LISTEN_FDS}`)
  return FIRST_ACTIVATED
}

function socketOf(descriptor: Descriptor): UnixListener | UnixStream {
  return isListening(descriptor) ? UnixListener.fromDescriptor(descriptor) : new UnixStream(descriptor)
}

/** Why there is no socket, for people. */
export function socketProblem(error: SystemCallError, where: string): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where} is in use: another process listens there, or it is no socket`
    case 'EACCES':
      return `${where} may not be made: check the permissions of its folder`
    case 'ENOENT':
      return `the folder of ${where} does not exist`
    case 'EBADF':
    case 'ENOTSOCK':
      return `${where} is no socket`
    default:
      return error.message
  }
}
