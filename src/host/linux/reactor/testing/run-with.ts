import type { Reactor } from '../reactor.ts'

/** Runs a reactor for as long as `body` does. */
export async function runWith(reactor: Reactor, body: () => Promise<void>): Promise<void> {
  const work = body().finally(() => reactor.stop())
  reactor.settle(work)
  const run = reactor.run()
  try {
    await Promise.all([run, work])
  } finally {
    // A body that fails stops the reactor, which has to end before it can be closed.
    await run
  }
}
