import { InvalidArgumentError } from 'commander'
import type { GuestNetwork } from '../engines/qemu/guest-network.ts'

/** What `outboard run` was asked, checked. */
export interface RunOptions {
  readonly engine: 'v86' | 'qemu'
  /** MiB; what suits the engine where it is not said. */
  readonly memory?: number
  readonly disk: readonly DiskOption[]
  readonly boot: 'kernel' | 'disk'
  readonly kernel?: string
  readonly initrd?: string
  readonly append?: string
  readonly display?: 'web' | 'none'
  readonly port?: number
  readonly screenshot?: string
  readonly exec?: string
  readonly timeout?: number
  /** What suits the machine where it is not said. */
  readonly net?: NetOption
}

export type NetOption = GuestNetwork | { readonly kind: 'none' }

export interface DiskOption {
  readonly path: string
  readonly readOnly: boolean
}

/** `FILE` or `FILE,readonly`; options are collected in the order given: /dev/vda, /dev/vdb ... */
export function parseDisk(value: string, before: readonly DiskOption[]): DiskOption[] {
  const comma = value.lastIndexOf(',')
  const option = comma < 0 ? '' : value.slice(comma + 1)
  const readOnly = option === 'readonly' || option === 'ro'
  const path = readOnly ? value.slice(0, comma) : value
  if (path === '') throw new InvalidArgumentError('Give the name of a file: --disk FILE[,readonly].')
  return [...before, { path, readOnly }]
}

/** `none`, `passt`, `passt:OPTIONS` or `tap:NAME`. */
export function parseNet(value: string): NetOption {
  const [, kind, rest] = /^(none|passt|tap)(?::(.+))?$/.exec(value) ?? []
  if (kind === 'tap' && rest !== undefined) return { kind, name: rest }
  if (kind === 'passt') return { kind, ...(rest !== undefined && { options: rest }) }
  if (kind === 'none' && rest === undefined) return { kind }
  throw new InvalidArgumentError('Give none, passt, passt:OPTIONS or tap:NAME.')
}

/** A parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (!/^\d+$/.test(value) || number < least || number > most) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`)
    }
    return number
  }
}

/** Seconds, with a fraction if wanted. */
export function parseSeconds(value: string): number {
  const seconds = Number(value)
  if (!/^\d*\.?\d+$/.test(value) || seconds <= 0 || seconds > 2_000_000) {
    throw new InvalidArgumentError('Give a number of seconds above 0.')
  }
  return seconds
}
