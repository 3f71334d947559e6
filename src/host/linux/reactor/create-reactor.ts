import { SystemCallError } from '../system-call-error.ts'
import { EpollBackend } from './epoll-backend.ts'
import type { Reactor, ReactorKind } from './reactor.ts'
import { Spin } from './spin.ts'
import { TurnReactor } from './turn-reactor.ts'
import { UringBackend } from './uring-backend.ts'

export interface ReactorOptions {
  /** Kernel interface to use. @default `io_uring`, or `epoll` if the kernel refuses it */
  readonly prefer?: ReactorKind
  /**
   * Time of polling before each sleep, in microseconds, while that finds work; 0 to disable.
   * @default 32, as QEMU's threads
   */
  readonly spinMicroseconds?: number
  /** Called with the reason why the reactor uses epoll although io_uring was preferred. */
  readonly refused?: (reason: string) => void
}

const SPIN_MICROSECONDS = 32

/** Creates a reactor, which only this thread may run. */
export function createReactor(options: ReactorOptions = {}): Reactor {
  const spin = new Spin(options.spinMicroseconds ?? SPIN_MICROSECONDS)
  if (options.prefer === 'epoll') return new TurnReactor(new EpollBackend(), spin)
  try {
    return new TurnReactor(new UringBackend(), spin)
  } catch (error) {
    options.refused?.(reasonOf(error))
    return new TurnReactor(new EpollBackend(), spin)
  }
}

/** Returns why this process cannot use io_uring, for messages; undefined if it can. */
export function uringRefused(): string | undefined {
  try {
    new UringBackend().close()
    return undefined
  } catch (error) {
    return reasonOf(error)
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof SystemCallError)) return error instanceof Error ? error.message : String(error)
  const hint = HINTS[error.code]
  return `io_uring is refused (${error.code})${hint === undefined ? '' : `: ${hint}`}`
}

const HINTS: Readonly<Record<string, string>> = {
  EPERM: 'by the sysctl kernel.io_uring_disabled, or by the container this runs in',
  ENOSYS: 'by the container this runs in, or the kernel is built without it',
  ENOMEM: 'not enough memory, or the limit of locked memory (ulimit -l) is too low',
}
