import { createHash } from 'node:crypto'
import { hostname } from 'node:os'
import type { Settings } from '../../catalogue/options.ts'

/** Network of the guest's card. */
export type GuestNetwork =
  /** User-mode network of passt, with the host's own view. `options` are passt's. */
  | { readonly kind: 'passt'; readonly options?: string }
  /** TAP interface of the host. */
  | { readonly kind: 'tap'; readonly name: string }

/** Settings of the network card. */
export function networkSettings(network: GuestNetwork): Settings {
  const mac = cardAddress(network)
  if (network.kind === 'tap') return { tap: network.name, mac }
  return { passt: network.options ?? true, mac }
}

/** Address of the card: the same in each run, because images store it; different for each interface, because they may be bridged. */
function cardAddress(network: GuestNetwork): string {
  // A guest behind passt shares its network with no other guest.
  if (network.kind === 'passt') return '52:54:00:12:34:56'
  const digest = createHash('sha256').update(`${hostname()} ${network.name}`).digest('hex')
  return `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`
}
