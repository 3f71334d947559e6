import { EpollPort } from './epoll-port.ts'
import type { Reactor } from './reactor.ts'
import { TurnReactor } from './turn-reactor.ts'

/** A reactor for this thread, on the best the kernel offers. */
export function createReactor(): Reactor {
  return new TurnReactor(new EpollPort())
}
