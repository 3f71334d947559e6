import type { Descriptor } from './descriptor.ts'
import { getsockopt } from './posix.ts'

const SOL_SOCKET = 1
const SO_PEERCRED = 17

// struct ucred, 12 bytes                                                                       unix(7)
//
//   0      4      8
//   | pid  | uid  | gid  |
//
const PID = 0
const UID = 1
const GID = 2 // u32 indices

/** Process, user and group of the peer of a Unix socket. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/**
 * Returns the credentials of the process that connected, even if another one holds the socket now. Borrows the socket.
 */
export function peerCredentials(socket: Descriptor): PeerCredentials {
  const value = new Uint32Array(3)
  getsockopt(
    `reading the credentials of ${socket.what}`,
    socket.fd,
    SOL_SOCKET,
    SO_PEERCRED,
    value,
    Uint32Array.of(value.byteLength),
  )
  return { pid: value[PID], uid: value[UID], gid: value[GID] }
}
