import { Descriptor } from '../host/linux/descriptor.ts'
import { socketProblem } from '../host/linux/socket-problem.ts'
import { SystemCallError } from '../host/linux/system-call-error.ts'
import { UnixListener } from '../host/linux/unix-listener.ts'
import { isListening, UnixStream } from '../host/linux/unix-stream.ts'
import { UsageError } from '../services/usage-error.ts'

/** Protocols between a monitor and a device process. */
export const DEVICE_TRANSPORTS = ['vhost-user', 'vfio-user'] as const
export type DeviceTransport = (typeof DEVICE_TRANSPORTS)[number]

/** Socket at which a device process meets its front-ends. */
export interface SocketOptions {
  /** Path of a Unix socket to listen on. */
  readonly socketPath?: string
  /** Descriptor that the process inherited: a listening or a connected socket. */
  readonly fd?: number
}

/** First descriptor that systemd passes. @see sd_listen_fds(3) */
const FIRST_ACTIVATED = 3

/**
 * Opens the socket that the options name, or else the one that systemd passes.
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

/** Returns the descriptor that systemd passes to this process, if any. @throws {UsageError} if it passes several */
export function activatedFd(environment: NodeJS.ProcessEnv): number | undefined {
  const { LISTEN_PID, LISTEN_FDS } = environment
  if (LISTEN_PID !== String(process.pid)) return undefined
  if (LISTEN_FDS !== '1') throw new UsageError(`a device process takes one socket, and systemd passes ${LISTEN_FDS}`)
  return FIRST_ACTIVATED
}

function socketOf(descriptor: Descriptor): UnixListener | UnixStream {
  return isListening(descriptor) ? UnixListener.fromDescriptor(descriptor) : new UnixStream(descriptor)
}
