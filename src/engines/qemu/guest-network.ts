import { createHash } from 'node:crypto'
import { hostname } from 'node:os'

/** What the guest's network card is plugged into. */
export type GuestNetwork =
  /** The host's network as the host itself sees it; `options` are passt's own. */
  | { readonly kind: 'passt'; readonly options?: string }
  /** An interface of the host. */
  | { readonly kind: 'tap'; readonly name: string }

/** Options of the device process. */
export function networkArguments(network: GuestNetwork): string[] {
  if (network.kind === 'tap') return [`--tap=${network.name}`]
  return [network.options === undefined ? '--passt' : `--passt=${network.options}`]
}

/**
 * The card's address: the same each time, since images remember it, and another for each interface, since they may be
 * joined.
 */
export function cardAddress(network: GuestNetwork): string {
  // Behind passt a guest is alone.
  if (network.kind === 'passt') return '52:54:00:12:34:56'
  const digest = createHash('sha256').update(`${hostname()} ${network.name}`).digest('hex')
  return `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`
}
