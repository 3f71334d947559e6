import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { Magic, NBD_CMD_FLAG_NO_HOLE, NbdCommand, REQUEST_BYTES } from './protocol.ts'

const COMMANDS: Readonly<Record<DiskOp, NbdCommand>> = {
  [DiskOp.READ]: NbdCommand.READ,
  [DiskOp.WRITE]: NbdCommand.WRITE,
  [DiskOp.FLUSH]: NbdCommand.FLUSH,
  [DiskOp.DISCARD]: NbdCommand.TRIM,
  [DiskOp.WRITE_ZEROES]: NbdCommand.WRITE_ZEROES,
}

/** State of a request. */
export const Stage = {
  /** Not in use. */
  FREE: 0,
  /** Not completely sent. */
  QUEUED: 1,
  /** Sent and not answered. */
  SENT: 2,
} as const
export type Stage = (typeof Stage)[keyof typeof Stage]

/**
 * Request of the device, as commands to the server. A request that exceeds the server's maximum is sent in parts, one
 * after the other. Objects are reused; a generation number distinguishes the commands.
 */
export class NbdRequest {
  /** Encoded header of the current part. */
  readonly header = new Uint8Array(new ArrayBuffer(REQUEST_BYTES))
  stage: Stage = Stage.FREE
  request: DiskRequest | undefined
  command: NbdCommand = NbdCommand.FLUSH
  /** Number of commands sent with this object. */
  generation = 0
  /** Bytes of completed parts, and length of the current part in bytes. */
  done = 0
  length = 0
  /** Next request of the send queue. */
  next: NbdRequest | undefined

  /** @param slot first part of the cookie that identifies a command to the server; the generation is the other part */
  constructor(readonly slot: number) {
    writeU32(this.header, 0, Magic.REQUEST)
    writeU32(this.header, 12, slot)
  }

  begin(request: DiskRequest): void {
    this.request = request
    this.command = COMMANDS[request.op]
    this.done = 0
  }

  /** Encodes the command for the next part, of at most `maxBytes` bytes. */
  prepare(maxBytes: number): void {
    const { header, request, command, done } = this
    if (!request) return
    const offset = request.offset + done
    this.generation = (this.generation + 1) >>> 0
    this.length = Math.min(request.length - done, maxBytes)
    // The range must stay allocated unless the driver allows that it is deallocated.
    header[5] = command === NbdCommand.WRITE_ZEROES && !request.mayUnmap ? NBD_CMD_FLAG_NO_HOLE : 0
    header[7] = command
    writeU32(header, 8, this.generation)
    writeU32(header, 16, offset / 2 ** 32)
    writeU32(header, 20, offset)
    writeU32(header, 24, this.length)
  }

  /** Bytes of the current part that are sent to the server. */
  get sentBytes(): number {
    return REQUEST_BYTES + (this.command === NbdCommand.WRITE ? this.length : 0)
  }

  /** Releases the object for reuse. @returns the request of the device */
  free(): DiskRequest | undefined {
    const { request } = this
    this.request = undefined
    this.stage = Stage.FREE
    this.next = undefined
    return request
  }
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}
