import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { StreamConnection } from '../../host/socket/stream-connection.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import type { PciBus, PciFunction } from '../../pci/pci-function.ts'
import { AcceptLoop, type PeerSource } from '../socket/accept-loop.ts'
import { ClientSession } from './client-session.ts'
import { ClientInterrupts } from './interrupts.ts'

export type VfioUserReactor = Pick<Reactor, 'watch' | 'signal' | 'settle' | 'timer' | 'onTurn' | 'poll'>

export interface VfioUserOptions {
  readonly log: (line: string) => void
}

/** Creates the function to serve, on a bus and with the memory of the client's guest. */
export type MakeFunction = (bus: PciBus, memory: GuestMemory) => PciFunction

/**
 * Serves a PCI function to clients one after another. While one is served, further connections wait.
 *
 *     const server = serveVfioUser(
 *       (bus, memory) => new VirtioPciFunction(device, bus, { memory, log }),
 *       UnixListener.listen('/run/disk.sock'),
 *       reactor,
 *       { log },
 *     )
 *     await reactor.run()
 *     ...
 *     server.close()                         // completes the requests in flight first
 *     await server.closed
 */
export class VfioUserServer {
  /** Resolves when the server is closed and no client is served. */
  readonly closed: Promise<void>
  readonly #acceptLoop: AcceptLoop<ClientSession>

  constructor(make: MakeFunction, clients: PeerSource, reactor: VfioUserReactor, { log }: VfioUserOptions) {
    const memory = new GuestMemory([])
    const interrupts = new ClientInterrupts(reactor)
    const pci = make(interrupts, memory)
    interrupts.attach(pci)
    const print = limitedLog((line) => log(`${pci.name}: ${line}`))
    this.#acceptLoop = new AcceptLoop(
      clients,
      'client',
      reactor,
      (stream) =>
        new ClientSession(
          { pci, interrupts, memory },
          (receiver) => new StreamConnection(stream, reactor, receiver),
          reactor,
          print,
        ),
      print,
    )
    const hook = reactor.onTurn(() => {
      pci.publish?.()
      return undefined
    })
    const poller = reactor.poll({ poll: () => pci.poll?.() === true, stopPolling: () => pci.stopPolling?.() })
    this.closed = this.#acceptLoop.closed
    void this.closed.then(() => {
      hook.close()
      poller.close()
    })
  }

  /** Closes the server. Disconnects the present client after its requests in flight are completed. */
  close(): void {
    this.#acceptLoop.close()
  }
}

/** Serves a PCI function to clients. The server owns the listener or stream. */
export function serveVfioUser(
  make: MakeFunction,
  clients: PeerSource,
  reactor: VfioUserReactor,
  options: VfioUserOptions,
): VfioUserServer {
  return new VfioUserServer(make, clients, reactor, options)
}
