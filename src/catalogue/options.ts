import { isUsageError, UsageError } from '../services/usage-error.ts'

/** Option of a kind of device: how its text is read. `T` is the value's type, `undefined` included if it may be absent. */
export interface DeviceOption<T> {
  /** What it does, for help texts; begins in lower case. */
  readonly summary: string
  /** Placeholder of its value, such as `path`; undefined for a switch, which has none. */
  readonly value?: string
  /** Brackets in help texts: the value may be left out. @default false */
  readonly valueOptional?: boolean
  readonly choices?: readonly string[]
  /** Value of an option that is not given. */
  readonly absent: T
  /** The switch is spelled `--no-NAME`, and turns the option off. @default false */
  readonly negated?: boolean
  /**
   * @param text `true` if the option has no value
   * @param before value of an earlier occurrence
   * @throws {UsageError} one sentence that says what to give
   */
  parse(text: string | true, before: T): T
}

/** Options of a kind, by name in camel case. */
// biome-ignore lint/suspicious/noExplicitAny: each option has a type of its own
export type OptionTable = Readonly<Record<string, DeviceOption<any>>>

/** Values of the options of a table. */
export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table]: Table[Name] extends DeviceOption<infer T> ? T : never
}

/**
 * Options of one device as text, by name in kebab case: `{ 'blk-file': 'disk.img', 'read-only': true }`. Valid in a command line,
 * in JSON, and in messages between threads.
 */
export type Settings = Readonly<Record<string, string | true | readonly string[]>>

/** Text that is taken as it is. */
export function text(value: string, summary: string): DeviceOption<string | undefined> {
  return { summary, value, absent: undefined, parse: valueIn }
}

/** Text with a meaning of its own. @param parse reads it, and throws {UsageError} */
export function parsed<T>(value: string, summary: string, parse: (text: string) => T): DeviceOption<T | undefined> {
  return { summary, value, absent: undefined, parse: (given) => parse(valueIn(given)) }
}

/** Text that may be left out: then the value is `true`. */
export function optionalText(value: string, summary: string): DeviceOption<string | true | undefined> {
  return { summary, value, valueOptional: true, absent: undefined, parse: (given) => given }
}

/** Option that may be given several times. */
export function list<T>(value: string, summary: string, parse: (text: string) => T): DeviceOption<readonly T[]> {
  return { summary, value, absent: [], parse: (given, before) => [...before, parse(valueIn(given))] }
}

/** Switch that is off unless given. */
export function flag(summary: string): DeviceOption<boolean> {
  return { summary, absent: false, parse: noValue(true) }
}

/** Switch that is on unless `--no-NAME` is given. */
export function unless(summary: string): DeviceOption<boolean> {
  return { summary, absent: true, negated: true, parse: noValue(false) }
}

/** Whole number from `minimum` to `maximum`. */
export function integer(minimum: number, maximum: number): (text: string) => number {
  return (given) => {
    const number = Number(given)
    if (!/^\d+$/.test(given) || number < minimum || number > maximum) {
      throw new UsageError(`Give a whole number from ${minimum} to ${maximum}.`)
    }
    return number
  }
}

const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** Returns a number of bytes, such as 512K, 64M or 2G; 0 is valid without a unit. @returns undefined for other text */
export function byteSize(given: string): number | undefined {
  if (given === '0') return 0
  const [, digits, unit] = /^(\d{1,6})([KMG])$/i.exec(given) ?? []
  return digits === undefined ? undefined : Number(digits) * UNITS[unit.toUpperCase()]
}

/** One of some words. */
export function choice<const T extends string>(choices: readonly T[], summary: string): DeviceOption<T | undefined> {
  return {
    summary,
    value: 'name',
    choices,
    absent: undefined,
    parse: (given) => choices.find((one) => one === given) ?? fail(`Give one of ${choices.join(', ')}.`),
  }
}

/** Gives an option a value for when it is absent. */
export function withDefault<T>(option: DeviceOption<T | undefined>, absent: T): DeviceOption<T> {
  return { ...option, absent, parse: (given, before) => option.parse(given, before) ?? absent }
}

/**
 * Reads the options of a device.
 * @throws {UsageError} for an unknown option, or a value that it does not take
 */
export function parseSettings<Table extends OptionTable>(table: Table, settings: Settings): OptionValues<Table> {
  const values: Record<string, unknown> = {}
  for (const [name, { absent }] of Object.entries(table)) values[name] = absent
  for (const [given, setting] of Object.entries(settings)) {
    const name = Object.keys(table).find((one) => optionName(one, table[one]) === given)
    if (name === undefined) throw new UsageError(`there is no option ${given}; ${knownOptions(table)}`)
    for (const one of Array.isArray(setting) ? setting : [setting]) {
      try {
        values[name] = table[name].parse(one, values[name])
      } catch (error) {
        if (!isUsageError(error)) throw error
        throw new UsageError(`option ${given}: ${error.message}`)
      }
    }
  }
  return values as OptionValues<Table>
}

/** Reads options of the form `NAME` or `NAME=VALUE`. An option that is repeated has all its values. */
export function settingsOf(options: readonly string[]): Settings {
  const settings = new Map<string, string | true | readonly string[]>()
  for (const option of options) {
    const [, name, value] = /^([^=]*)(?:=(.*))?$/s.exec(option) ?? []
    const before = settings.get(name)
    const earlier = typeof before === 'string' ? [before] : (before ?? [])
    settings.set(
      name,
      value === undefined ? true : earlier === true || earlier.length === 0 ? value : [...earlier, value],
    )
  }
  return Object.fromEntries(settings)
}

/** Name of an option on the command line, without `--`. */
export function optionName(name: string, { negated = false }: DeviceOption<unknown>): string {
  const words = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
  return negated ? `no-${words}` : words
}

/** Arguments of a command that stand for the settings. */
export function settingsArguments(settings: Settings): string[] {
  return Object.entries(settings).flatMap(([name, setting]) =>
    (Array.isArray(setting) ? setting : [setting]).map((one) => (one === true ? `--${name}` : `--${name}=${one}`)),
  )
}

function knownOptions(table: OptionTable): string {
  const names = Object.entries(table).map(([name, option]) => optionName(name, option))
  return names.length === 0 ? 'this kind of device has none' : `its options are ${names.join(', ')}`
}

function valueIn(given: string | true): string {
  return given === true ? fail('Give a value.') : given
}

function noValue(value: boolean): (given: string | true) => boolean {
  return (given) => (given === true ? value : fail('Give no value.'))
}

function fail(message: string): never {
  throw new UsageError(message)
}
