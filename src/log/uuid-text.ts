/** Returns the text of a UUID of 16 bytes: `67c8f2ba-27f1-4f2c-9ee4-0b8c2d1e7a35`. */
export function uuidText(uuid: Uint8Array): string {
  const digits = Array.from(uuid, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
