import type { Reactor } from '../reactor.ts'

/** Runs a reactor while `body` runs. */
export async function runWith(reactor: Reactor, body: () => Promise<void>): Promise<void> {
  const work = body().finally(() => reactor.stop())
  reactor.settle(work)
  const run = reactor.run()
  try {
    await Promise.all([run, work])
  } finally {
    // A body that fails stops the reactor, which must end before the caller closes it.
    await run
  }
}
