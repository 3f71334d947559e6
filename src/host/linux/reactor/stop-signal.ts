import { EventFd } from '../event-fd.ts'
import { type Closable, Interest, type Reactor } from './reactor.ts'

/**
 * Stops reactors from outside: from another thread of this process, or when a signal tells the process to end.
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

  /** What threads are given. */
  get fd(): number {
    return this.event.descriptor.fd
  }

  raise(): void {
    this.event.signal()
  }

  /** Raises it when the process gets one of these, which then no longer end it at once. */
  onProcessSignals(names: readonly NodeJS.Signals[]): Closable {
    const raise = () => this.raise()
    for (const name of names) process.on(name, raise)
    return {
      close: () => {
        for (const name of names) process.off(name, raise)
      },
    }
  }

  /** Not before the reactors that watch it. */
  close(): void {
    this.event.close()
  }
}

/** Stops a reactor when the signal with this descriptor is raised. */
export function stopAt(fd: number, reactor: Reactor): Closable {
  return reactor.watch(fd, () => reactor.stop(), Interest.EDGE)
}
