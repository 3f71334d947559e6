import { createHash } from 'node:crypto'
import { hostname } from 'node:os'

/** Connection of the guest's network card. */
export type GuestNetwork =
  /** User-mode network of passt, with the host's own view. `options` are passt's. */
  | { readonly kind: 'passt'; readonly options?: string }
  /** TAP interface of the host. */
  | { readonly kind: 'tap'; readonly name: string }

/** Returns the options of the device process. */
export function networkArguments(network: GuestNetwork): string[] {
  if (network.kind === 'tap') return [`--tap=${network.name}`]
  return [network.options === undefined ? '--passt' : `--passt=${network.options}`]
}

/**
 * Returns the card's MAC address. It is constant, because disk images remember it, and differs between interfaces,
 * because they may be joined.
 */
export function cardAddress(network: GuestNetwork): string {
  // Behind passt the guest has no neighbours, so the address need not be unique.
  if (network.kind === 'passt') return '52:54:00:12:34:56'
  const digest = createHash('sha256').update(`${hostname()} ${network.name}`).digest('hex')
  return `52:54:00:${digest.slice(0, 2)}:${digest.slice(2, 4)}:${digest.slice(4, 6)}`
}
