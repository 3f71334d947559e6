/** Value of a saved state. Integers of more than 53 bits are unsigned bigints. */
export type SavedValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | SavedArray
  | readonly SavedValue[]
  | { readonly [name: string]: SavedValue }

/** Typed array of a saved state. It may be the memory of what was saved: encode or copy it before that goes on. */
export type SavedArray = Uint8Array | Uint16Array | Uint32Array | Float64Array

/**
 * State of a device, or of a part of one: a version and named plain values.
 *
 * The version belongs to the owner of the state and changes with the meaning of its fields.
 */
export interface SavedState {
  readonly version: number
  readonly [name: string]: SavedValue
}
