import { HEADER_BYTES, HEADER_NUM_BUFFERS } from '../../../../services/packet.ts'
import { hasFeature } from '../../../../virtio/feature.ts'
import { activateDevice, type DeviceRig, type DeviceRigOptions } from '../../../../virtio/testing/device-rig.ts'
import type { Bytes, Layout, Reply, Request } from '../../../../virtqueue/driver/index.ts'
import { cut } from '../../block/testing/driver-requests.ts'
import type { NetDevice } from '../net.ts'
import { headerNumber } from '../packet-header.ts'
import { NetFeature } from '../protocol.ts'
import type { Packet } from './held-port.ts'

export interface HeaderFields {
  readonly flags?: number
  readonly gsoType?: number
  readonly hdrLen?: number
  readonly gsoSize?: number
  readonly csumStart?: number
  readonly csumOffset?: number
  readonly numBuffers?: number
}

/** Returns the 12-byte header of a packet. @virtio 5.1.6 */
export function header(fields: HeaderFields = {}): Uint8Array {
  const { flags = 0, gsoType = 0, hdrLen = 0, gsoSize = 0, csumStart = 0, csumOffset = 0, numBuffers = 0 } = fields
  const numbers = [hdrLen, gsoSize, csumStart, csumOffset, numBuffers]
  return Uint8Array.of(flags, gsoType, ...numbers.flatMap((number) => [number & 0xff, number >> 8]))
}

/** Returns a frame of `length` bytes, at least 14, whose contents depend on the seed. */
export function frame(length: number, seed: number, destination: readonly number[] = STATION): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 8) * 31 + seed * 101) & 0xff)
  bytes.set([...destination, 2, 0, 0, 0, 0, seed & 0xff, 0x08, 0x00].slice(0, length))
  return bytes
}

export const STATION_TEXT = '52:54:00:12:34:56'
export const STATION = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56] as const
export const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] as const

/** Received packet, with the lengths of its buffers. */
export interface ReceivedPacket extends Packet {
  readonly buffers: readonly number[]
}

/** Driver's side of a network device. */
export class NetDriver {
  readonly rig: DeviceRig
  readonly #control: number
  /** Receive buffers of each pair, in the order in which they were added. */
  readonly #posted: Request[][]

  constructor(device: NetDevice, options: DeviceRigOptions = {}) {
    this.rig = activateDevice(device, options)
    const pairs = device.queueSizes.length >> 1
    this.#control = hasFeature(this.rig.features, NetFeature.MQ) ? 2 * pairs : 2
    this.#posted = Array.from({ length: pairs }, () => [])
  }

  /** Adds receive buffers of these lengths, or of parts of these lengths. */
  post(buffers: readonly (number | readonly number[])[], pair = 0, layout?: Layout): void {
    for (const parts of buffers) {
      this.#posted[pair].push(this.rig.rigs[2 * pair].add([], typeof parts === 'number' ? [parts] : parts, layout))
    }
    this.rig.kick(2 * pair)
  }

  /** Returns complete packets, each once. Leaves out buffers that were returned with length 0. */
  received(pair = 0): ReceivedPacket[] {
    const replies = this.#replies(pair)
    const packets: ReceivedPacket[] = []
    for (let i = 0; i < replies.length; ) {
      const first = replies[i].bytes
      const buffers = headerNumber(first, HEADER_NUM_BUFFERS)
      const group = replies.slice(i, i + buffers)
      if (buffers === 0 || group.length < buffers)
        throw new Error(`num_buffers is ${buffers}, but ${group.length} buffers were returned`)
      const bytes = join(group.map((reply) => reply.bytes))
      packets.push({
        header: bytes.slice(0, HEADER_BYTES),
        frame: bytes.slice(HEADER_BYTES),
        buffers: group.map((reply) => reply.written),
      })
      i += buffers
    }
    return packets
  }

  /** Sends a packet: header and frame in one part. @default one buffer */
  send(bytes: Uint8Array, packetHeader = header(), cuts: readonly number[] = [], pair = 0, layout?: Layout): Request {
    const whole = join([packetHeader, bytes])
    return this.rig.submit(2 * pair + 1, cut(whole, cuts), [], layout)
  }

  /** Sends a control command. @returns its `ack` */
  command(kind: number, number: number, ...data: readonly Bytes[]): number | undefined {
    return this.rig.send(this.#control, [[kind, number], ...data], [1]).parts[0][0]
  }

  /** Sends any bytes to the control queue. */
  rawCommand(readable: readonly Bytes[], writable: readonly number[]): Reply {
    return this.rig.send(this.#control, readable, writable)
  }

  #replies(pair: number): Reply[] {
    const posted = this.#posted[pair]
    const replies: Reply[] = []
    while (posted.length > 0 && posted[0].reply) {
      const reply = posted.shift()?.reply
      if (reply && reply.written > 0) replies.push(reply)
    }
    return replies
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
