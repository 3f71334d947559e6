import { closeSync, constants, openSync } from 'node:fs'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { ioctl, ioctlNumber } from '../../host/linux/posix.ts'
import { SystemCallError } from '../../host/linux/system-call-error.ts'
import { unixSocket } from '../../host/linux/unix-stream.ts'
import { errorCode } from '../../host/node/error-code.ts'
import { retry } from '../../host/node/retry.ts'
import { Offload } from '../../services/network-port.ts'
import { HEADER_BYTES } from '../../services/packet.ts'
import { NetworkPortError } from './network-port-error.ts'

export const TUN_DEVICE = '/dev/net/tun'

// Requests of linux/if_tun.h and linux/sockios.h, with the numbers of most architectures.
const TUNSETIFF = 0x4004_54ca
const TUNSETOFFLOAD = 0x4004_54d0
const TUNSETVNETHDRSZ = 0x4004_54d8
const TUNSETQUEUE = 0x4004_54d9
const TUNSETVNETLE = 0x4004_54dc
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCGIFMTU = 0x8921

/** Maximum time that an interface stays busy after its process was killed. */
const BUSY_TIMEOUT_MS = 1000

const IFF_UP = 0x0001
const IFF_TAP = 0x0002
const IFF_MULTI_QUEUE = 0x0100
const IFF_ATTACH_QUEUE = 0x0200
const IFF_DETACH_QUEUE = 0x0400
const IFF_NO_PI = 0x1000
const IFF_VNET_HDR = 0x4000

// struct ifreq on 64-bit systems, 40 bytes                                                     netdevice(7)
//
//   0      16                 40
//   | name | flags or number  |
//
const REQUEST_BYTES = 40
const REQUEST_VALUE = 16
/** Maximum length of an interface name. */
const NAME_BYTES = 15

/** Sets of `Offload`s that kernel versions support, newest first. `Offload` has the numbers of linux/if_tun.h. */
const KNOWN_OFFLOADS = [
  Offload.CSUM | Offload.TSO4 | Offload.TSO6 | Offload.ECN | Offload.UFO | Offload.USO4 | Offload.USO6,
  Offload.CSUM | Offload.TSO4 | Offload.TSO6 | Offload.ECN | Offload.UFO,
  Offload.CSUM | Offload.TSO4 | Offload.TSO6 | Offload.ECN,
]

/**
 * Opens one queue of a TAP interface. Creates the interface if it does not exist. Packets begin with virtio's header.
 * @param name name of the interface; the kernel replaces `%d` with a number
 * @param multiQueue true if the interface has several queues; must be the same for all queues
 * @throws {NetworkPortError} with a fix, if the interface cannot be opened
 */
export function openTapQueue(name: string, multiQueue: boolean): { readonly queue: Descriptor; readonly name: string } {
  if (!/^[!-.0-~]+$/.test(name) || name.length > NAME_BYTES) {
    throw new NetworkPortError(`'${name}' is not a valid interface name`)
  }
  const queue = new Descriptor(openTun(), `interface ${name}`)
  try {
    const request = interfaceRequest(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multiQueue ? IFF_MULTI_QUEUE : 0))
    retry(
      () => ioctl(`opening interface ${name}`, queue.fd, TUNSETIFF, request),
      (error) => errorCode(error) === 'EBUSY',
      BUSY_TIMEOUT_MS,
    )
    ioctl(`asking for headers on ${name}`, queue.fd, TUNSETVNETHDRSZ, Int32Array.of(HEADER_BYTES))
    ioctl(`asking for headers on ${name}`, queue.fd, TUNSETVNETLE, Int32Array.of(1))
    return { queue, name: nameOf(request) }
  } catch (error) {
    queue.close()
    throw explained(error, name)
  }
}

/** Returns the set of `Offload`s that the kernel supports, in both directions. */
export function probeOffloads(queue: Descriptor): number {
  for (const offloads of KNOWN_OFFLOADS) if (setTapOffloads(queue, offloads)) return offloads
  return 0
}

/**
 * Sets the `Offload`s that received packets may leave to the driver.
 * @returns false if the kernel does not support one of them
 */
export function setTapOffloads(queue: Descriptor, offloads: number): boolean {
  // The kernel accepts ECN only with TSO, and USO only for both IP versions. It performs the offloads that are not set.
  let known = offloads
  if ((known & (Offload.TSO4 | Offload.TSO6)) === 0) known &= ~Offload.ECN
  if ((known & Offload.USO4) === 0 || (known & Offload.USO6) === 0) known &= ~(Offload.USO4 | Offload.USO6)
  try {
    ioctlNumber(`setting offloads of ${queue.what}`, queue.fd, TUNSETOFFLOAD, known)
    return true
  } catch (error) {
    if (error instanceof SystemCallError) return false
    throw error
  }
}

/** Attaches or detaches one of several queues. @returns false if the kernel refuses */
export function attachQueue(queue: Descriptor, attached: boolean): boolean {
  const request = interfaceRequest('', attached ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE)
  try {
    ioctl(`using a queue of ${queue.what}`, queue.fd, TUNSETQUEUE, request)
    return true
  } catch (error) {
    if (error instanceof SystemCallError) return false
    throw error
  }
}

/** Returns the largest payload of the interface's frames, in bytes. */
export function interfaceMtu(name: string): number {
  return withSocket(name, (fd) => {
    const request = interfaceRequest(name, 0)
    ioctl(`asking for the MTU of ${name}`, fd, SIOCGIFMTU, request)
    return new DataView(request.buffer).getInt32(REQUEST_VALUE, true)
  })
}

/** Sets the interface up. @returns false if it is down and the kernel refuses */
export function bringUp(name: string): boolean {
  return withSocket(name, (fd) => {
    const request = interfaceRequest(name, 0)
    try {
      ioctl(`asking whether ${name} is up`, fd, SIOCGIFFLAGS, request)
      const view = new DataView(request.buffer)
      const flags = view.getUint16(REQUEST_VALUE, true)
      if ((flags & IFF_UP) !== 0) return true
      view.setUint16(REQUEST_VALUE, flags | IFF_UP, true)
      ioctl(`bringing ${name} up`, fd, SIOCSIFFLAGS, request)
      return true
    } catch (error) {
      if (error instanceof SystemCallError) return false
      throw error
    }
  })
}

/** Returns why no TAP interface can be opened on this host; undefined if nothing prevents it. */
export function tunRefused(): string | undefined {
  return refusalOf(() => closeSync(openTun()))
}

/** Opens and closes an interface to check it. @returns why it cannot be opened; undefined if it can */
export function tapRefused(name: string): string | undefined {
  return refusalOf(() => openTapQueue(name, false).queue.close())
}

function refusalOf(open: () => void): string | undefined {
  try {
    open()
    return undefined
  } catch (error) {
    if (error instanceof NetworkPortError) return error.message
    throw error
  }
}

function openTun(): number {
  try {
    return openSync(TUN_DEVICE, constants.O_RDWR | constants.O_NONBLOCK)
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? error.code : error
    throw new NetworkPortError(
      `${TUN_DEVICE}: ${reason}: load the kernel module tun, and allow this user to open the file`,
    )
  }
}

function explained(error: unknown, name: string): unknown {
  if (!(error instanceof SystemCallError)) return error
  switch (error.code) {
    case 'EPERM':
      return new NetworkPortError(
        `interface ${name}: not permitted; as root: ip tuntap add dev ${name} mode tap user YOU && ip link set ${name} up`,
      )
    case 'EBUSY':
      return new NetworkPortError(`interface ${name} is in use by another process`)
    case 'EINVAL':
      return new NetworkPortError(
        `interface ${name}: not a TAP interface, or its multi_queue setting does not match (ip tuntap ... multi_queue)`,
      )
    default:
      return new NetworkPortError(error.message)
  }
}

function withSocket<T>(name: string, use: (fd: number) => T): T {
  const socket = unixSocket(`asking about ${name}`)
  try {
    return use(socket.fd)
  } finally {
    socket.close()
  }
}

function interfaceRequest(name: string, flags: number): Uint8Array {
  const request = new Uint8Array(REQUEST_BYTES)
  new TextEncoder().encodeInto(name, request)
  new DataView(request.buffer).setUint16(REQUEST_VALUE, flags, true)
  return request
}

function nameOf(request: Uint8Array): string {
  const name = request.subarray(0, REQUEST_VALUE)
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)))
}
