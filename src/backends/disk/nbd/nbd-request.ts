import { DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { Magic, NBD_CMD_FLAG_NO_HOLE, NbdCommand, REQUEST_BYTES } from './protocol.ts'

const COMMANDS: Readonly<Record<DiskOp, NbdCommand>> = {
  [DiskOp.READ]: NbdCommand.READ,
  [DiskOp.WRITE]: NbdCommand.WRITE,
  [DiskOp.FLUSH]: NbdCommand.FLUSH,
  [DiskOp.DISCARD]: NbdCommand.TRIM,
  [DiskOp.WRITE_ZEROES]: NbdCommand.WRITE_ZEROES,
}

/** Where a request is. */
export const Stage = {
  /** Not in use. */
  FREE: 0,
  /** Not all of it is sent. */
  QUEUED: 1,
  /** The server has it. */
  SENT: 2,
} as const
export type Stage = (typeof Stage)[keyof typeof Stage]

/**
 * A request of the device on its way to the server and back. One that is longer than the server takes goes there in parts,
 * one after the other. Each is reused; a generation number distinguishes its uses.
 */
export class NbdRequest {
  /** What is sent before the data. */
  readonly header = new Uint8Array(new ArrayBuffer(REQUEST_BYTES))
  stage: Stage = Stage.FREE
  request: DiskRequest | undefined
  command: NbdCommand = NbdCommand.FLUSH
  /** How often it was sent. */
  generation = 0
  /** Bytes of the parts that are done, and of the one that is under way. */
  done = 0
  length = 0
  /** What is to be sent after it. */
  next: NbdRequest | undefined

  /** @param slot what the server knows it by, together with its generation */
  constructor(readonly slot: number) {
    writeU32(this.header, 0, Magic.REQUEST)
    writeU32(this.header, 12, slot)
  }

  begin(request: DiskRequest): void {
    this.request = request
    this.command = COMMANDS[request.op]
    this.done = 0
  }

  /** Makes the next part, of at most so many bytes, what is sent. */
  prepare(mostBytes: number): void {
    const { header, request, command, done } = this
    if (!request) return
    const offset = request.offset + done
    this.generation = (this.generation + 1) >>> 0
    this.length = Math.min(request.length - done, mostBytes)
    // The range is to stay allocated unless the driver says that it need not.
    header[5] = command === NbdCommand.WRITE_ZEROES && !request.mayUnmap ? NBD_CMD_FLAG_NO_HOLE : 0
    header[7] = command
    writeU32(header, 8, this.generation)
    writeU32(header, 16, offset / 2 ** 32)
    writeU32(header, 20, offset)
    writeU32(header, 24, this.length)
  }

  /** Bytes that go to the server. */
  get sentBytes(): number {
    return REQUEST_BYTES + (this.command === NbdCommand.WRITE ? this.length : 0)
  }

  /** Ends its use. @returns the request of the device that it was for */
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
