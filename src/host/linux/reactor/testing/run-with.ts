import type { Reactor } from '../reactor.ts'

/** Runs a reactor for as long as `body` does. */
export async function runWith(reactor: Reactor, body: () => Promise<void>): Promise<void> {
  const work = body().finally(() => reactor.stop())
  reactor.settle(work)
  await Promise.all([reactor.run(), work])
}
