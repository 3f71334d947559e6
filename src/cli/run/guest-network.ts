import { PasstProcess, passtOptions } from '../../backends/net/passt-process.ts'
import { tapRefused } from '../../backends/net/tap-interface.ts'
import type { GuestNetwork } from '../../engines/qemu/guest-network.ts'
import { UsageError } from '../../services/usage-error.ts'
import type { NetOption } from './run-options.ts'

/**
 * The network that was asked for; where none was, passt if it runs here.
 * @param say receives a line if the guest has no network although it was not disabled
 * @throws {UsageError}
 */
export async function chooseNetwork(
  asked: NetOption | undefined,
  say: (line: string) => void,
): Promise<GuestNetwork | undefined> {
  if (asked?.kind === 'none') return undefined
  if (asked?.kind === 'tap') {
    // A device that ends takes QEMU with it, and QEMU has nothing to say about why.
    const refused = tapRefused(asked.name)
    if (refused !== undefined) throw new UsageError(`--net tap: ${refused}`)
    return asked
  }
  const refused = await PasstProcess.refused(passtOptions(asked?.options ?? ''))
  if (refused === undefined) return asked ?? { kind: 'passt' }
  if (asked) throw new UsageError(`--net passt: ${refused}`)
  say(`outboard: the guest has no network: ${refused}`)
  return undefined
}
