/** Names of fields, one after the other, each with its bytes. */
type Fields = Readonly<Record<string, 2 | 4 | 8>>

type Values<F extends Fields> = { readonly [Name in keyof F]: F[Name] extends 8 ? bigint : number }

/** A message of unsigned numbers, most significant byte first, as it lies in memory. */
export interface Layout<F extends Fields> {
  readonly byteLength: number
  /** Takes the fields out of at least `byteLength` bytes. */
  read(bytes: Uint8Array): Values<F>
  write(values: Values<F>): Uint8Array
}

/** Declares a message. For those that are rare: each call makes what it returns. */
export function layout<F extends Fields>(fields: F): Layout<F> {
  const entries = Object.entries<2 | 4 | 8>(fields)
  const byteLength = entries.reduce((sum, [, size]) => sum + size, 0)
  return {
    byteLength,
    read(bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, byteLength)
      const values: Record<string, number | bigint> = {}
      let at = 0
      for (const [name, size] of entries) {
        values[name] = size === 8 ? view.getBigUint64(at) : size === 4 ? view.getUint32(at) : view.getUint16(at)
        at += size
      }
      return values as Values<F>
    },
    write(values) {
      const view = new DataView(new ArrayBuffer(byteLength))
      let at = 0
      for (const [name, size] of entries) {
        const value = values[name]
        if (size === 8) view.setBigUint64(at, BigInt(value))
        else if (size === 4) view.setUint32(at, Number(value))
        else view.setUint16(at, Number(value))
        at += size
      }
      return new Uint8Array(view.buffer)
    },
  }
}
