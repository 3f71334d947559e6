/** The first byte of a socket's address, and the longest path after it; unix(7). */
const AF_UNIX = 1
const PATH_BYTES = 108

/**
 * The address of a Unix socket.
 * @throws {RangeError} where the path is too long to be one
 */
export function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path)
  if (name.length === 0 || name.length >= PATH_BYTES || name.includes(0)) {
    throw new RangeError(`${path}: a socket's path has 1 to ${PATH_BYTES - 1} bytes, this one ${name.length}`)
  }
  const address = new Uint8Array(2 + PATH_BYTES)
  address[0] = AF_UNIX
  address.set(name, 2)
  return address
}
