import { UsageError } from '../services/usage-error.ts'
import { type Settings, settingsOf } from './options.ts'

/** Device of a machine, as plain values that a message between threads can carry. */
export interface MachineDevice {
  /** Name within the machine: `disk0`. */
  readonly id: string
  /** Name of its kind. @see loadKind */
  readonly kind: string
  readonly settings: Settings
}

/** Device that a machine has besides the standard ones. */
export type AddedDevice = Omit<MachineDevice, 'id'>

/** Choices about the standard devices of a machine. */
export interface StandardDevices {
  /** Settings of the kind `block`, `/dev/vda` first. */
  readonly disks: readonly Settings[]
  /** False for a GPU without blob resources. @default true */
  readonly blob?: boolean | undefined
  /** Settings of the kind `net`. The guest has no network card without them. */
  readonly network?: Settings | undefined
  /** @default [] */
  readonly added?: readonly AddedDevice[] | undefined
}

/** Returns the devices of a machine, in the order in which the guest finds them. */
export function standardDevices({ disks, blob = true, network, added = [] }: StandardDevices): MachineDevice[] {
  return [
    { id: 'gpu', kind: 'gpu', settings: blob ? {} : { 'no-blob': true } },
    { id: 'keyboard', kind: 'input', settings: { kind: 'keyboard' } },
    { id: 'tablet', kind: 'input', settings: { kind: 'tablet' } },
    { id: 'console', kind: 'console', settings: {} },
    { id: 'entropy', kind: 'entropy', settings: {} },
    ...disks.map((settings, index) => ({ id: `disk${index}`, kind: 'block', settings })),
    ...(network ? [{ id: 'net', kind: 'net', settings: network }] : []),
    ...added.map((device, index) => ({ ...device, id: `${device.kind}-${index}` })),
  ]
}

/**
 * Reads `KIND[,OPTION[=VALUE]]...`; a comma within a value is doubled.
 * @throws {UsageError}
 */
export function parseAddedDevice(text: string): AddedDevice {
  const [kind, ...options] = text.split(/(?<!,),(?!,)/).map((part) => part.replaceAll(',,', ','))
  if (kind === '') throw new UsageError('Give a kind of device, with options behind commas: KIND,OPTION=VALUE.')
  return { kind, settings: settingsOf(options) }
}
