// struct sockaddr_un: u16 family, then the path; unix(7)
const AF_UNIX = 1
const PATH_BYTES = 108

/**
 * Returns the address of a Unix socket: struct sockaddr_un.
 * @throws {RangeError} if the path is empty, too long or contains NUL
 */
export function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path)
  if (name.length === 0 || name.length >= PATH_BYTES || name.includes(0)) {
    throw new RangeError(`${path}: a socket's path must have 1 to ${PATH_BYTES - 1} bytes, not ${name.length}`)
  }
  const address = new Uint8Array(2 + PATH_BYTES)
  address[0] = AF_UNIX
  address.set(name, 2)
  return address
}
