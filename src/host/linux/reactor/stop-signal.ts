import { EventFd } from '../event-fd.ts'
import { type Closable, Interest, type Reactor } from './reactor.ts'

/**
 * Stops reactors from another thread of this process, or when the process receives a signal to end.
 *
 *     const stop = StopSignal.create()                        // main thread
 *     stop.onProcessSignals(['SIGTERM', 'SIGINT'])
 *     new Worker(file, { workerData: { stop: stop.fd } })
 *
 *     stopAt(workerData.stop, reactor)                        // worker
 *     await reactor.run()
 *
 * Once raised it stays raised: a reactor that runs later stops at once.
 */
export class StopSignal {
  private constructor(private readonly event: EventFd) {}

  static create(): StopSignal {
    return new StopSignal(EventFd.create('the signal to stop'))
  }

  /** Descriptor to pass to the threads, for `stopAt`. */
  get fd(): number {
    return this.event.descriptor.fd
  }

  raise(): void {
    this.event.signal()
  }

  /** Raises the stop signal when the process receives one of these signals, which then no longer end the process. */
  onProcessSignals(names: readonly NodeJS.Signals[]): Closable {
    const raise = () => this.raise()
    for (const name of names) process.on(name, raise)
    return {
      close: () => {
        for (const name of names) process.off(name, raise)
      },
    }
  }

  /** Call this after the reactors that watch it are closed. */
  close(): void {
    this.event.close()
  }
}

/** Stops a reactor when the signal with this descriptor is raised. */
export function stopAt(fd: number, reactor: Reactor): Closable {
  return reactor.watch(fd, () => reactor.stop(), Interest.EDGE)
}
