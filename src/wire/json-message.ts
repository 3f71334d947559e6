/** A message that cannot be used. The reason is short enough for the close frame of a WebSocket. */
export class MessageError extends Error {
  override name = 'MessageError'
}

/** Check of a field's value. */
export type Check<T> = (value: unknown) => value is T

/** Fields of the messages of each type. */
type Shapes = Readonly<Record<string, Readonly<Record<string, Check<unknown>>>>>
type Checked<S, K extends keyof S> = S[K] extends Check<infer T> ? T : never
type OptionalKeys<S> = { [K in keyof S]: undefined extends Checked<S, K> ? K : never }[keyof S]
type Fields<S> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Checked<S, K> } & {
  readonly [K in OptionalKeys<S>]?: Checked<S, K>
}

/** Union of the messages that a table of shapes describes. */
export type MessageOf<S> = { [T in keyof S]: { readonly type: T } & Fields<S[T]> }[keyof S]

export function integer(min: number, max: number): Check<number> {
  return (value): value is number => Number.isInteger(value) && (value as number) >= min && (value as number) <= max
}

export function between(min: number, max: number): Check<number> {
  return (value): value is number => typeof value === 'number' && value >= min && value <= max
}

export function oneOf<T extends string>(...values: readonly T[]): Check<T> {
  return (value): value is T => (values as readonly unknown[]).includes(value)
}

export function string(maxLength: number): Check<string> {
  return (value): value is string => typeof value === 'string' && value.length <= maxLength
}

export const isBoolean: Check<boolean> = (value) => typeof value === 'boolean'

/** Check of a field that may be missing. */
export function optional<T>(check: Check<T>): Check<T | undefined> {
  return (value): value is T | undefined => value === undefined || check(value)
}

/**
 * Parses a message: a JSON object with a `type` of the table, all fields of that type, and no other field.
 *
 *     const SHAPES = { key: { code: integer(1, 0x2ff), pressed: isBoolean } }
 *     parseMessage(SHAPES, '{"type":"key","code":30,"pressed":true}')
 *
 * @throws {MessageError}
 */
export function parseMessage<S extends Shapes>(shapes: S, text: string): MessageOf<S> {
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    throw new MessageError('not JSON')
  }
  if (typeof message !== 'object' || message === null) throw new MessageError('not an object')
  const type: unknown = 'type' in message ? message.type : undefined
  if (typeof type !== 'string' || !Object.hasOwn(shapes, type)) throw new MessageError('unknown type')
  const fields = shapes[type]
  const values = new Map<string, unknown>(Object.entries(message))
  for (const [name, check] of Object.entries(fields)) {
    if (!check(values.get(name))) throw new MessageError(`${type}: ${name} is missing or out of range`)
    values.delete(name)
  }
  if (values.size > 1) throw new MessageError(`${type}: unknown field`)
  return message as MessageOf<S>
}
