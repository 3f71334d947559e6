import { Errno } from '../../host/linux/errno.ts'
import type { PciBar, PciFunction } from '../../pci/pci-function.ts'
import {
  HEADER_BYTES,
  HEADER_COMMAND,
  HEADER_ERROR,
  HEADER_FLAGS,
  HEADER_ID,
  HEADER_SIZE,
  MAX_TRANSFER,
  MessageFlag,
  RegionIndex,
} from './protocol.ts'
import { VfioUserError } from './vfio-user-error.ts'

// REGION_READ and REGION_WRITE, and their replies                                   @vfio-user REGION_READ, REGION_WRITE
//
//   0        8        12      16
//   | offset | region | count | data: `count` bytes |           data only in a write, and in the reply to a read
//
const OFFSET = 0
const REGION = 8
const COUNT = 12
const DATA = 16
/** REGION_WRITE_MULTI: the number of writes, then the writes, each with 8 bytes of data. */
const MULTI_WRITES = 8
const MULTI_STRIDE = 24
const MULTI_DATA_BYTES = 8

/** Size of the configuration space without extended capabilities. */
const CONFIG_BYTES = 0x100

/**
 * Accesses of the client to the regions of a function. Each costs the guest an exit and a message, so these messages
 * are parsed without a `Payload`.
 */
export class RegionAccess {
  #answer = new Uint8Array(HEADER_BYTES + DATA + 8)
  #view = new DataView(this.#answer.buffer)

  constructor(private readonly pci: PciFunction) {}

  /** Size of a region in bytes; 0 if the function does not have it. */
  sizeOf(region: number): number {
    if (region === RegionIndex.CONFIG) return this.pci.configSize ?? CONFIG_BYTES
    return this.barOf(region)?.size ?? 0
  }

  /** The BAR that a region is; of the ROM too. */
  barOf(region: number): PciBar | undefined {
    return region === RegionIndex.ROM ? this.pci.rom : this.pci.bars[region]
  }

  /** Handles REGION_READ. @returns the reply message, valid until the next access */
  read(id: number, command: number, payload: Uint8Array): Uint8Array {
    if (payload.length !== DATA)
      throw new VfioUserError(Errno.EINVAL, `payload of ${payload.length} bytes instead of ${DATA}`)
    const count = this.#check(payload, 0)
    this.#begin(id, command, payload, DATA + count)
    const region = word(payload, REGION)
    const view = this.#view
    let offset = longWord(payload, OFFSET)
    for (let at = HEADER_BYTES + DATA; at < HEADER_BYTES + DATA + count; ) {
      const width = widthAt(offset, HEADER_BYTES + DATA + count - at)
      const value = this.#read(region, offset, width)
      if (width === 4) view.setUint32(at, value, true)
      else if (width === 2) view.setUint16(at, value, true)
      else view.setUint8(at, value)
      at += width
      offset += width
    }
    return this.#answer.subarray(0, HEADER_BYTES + DATA + count)
  }

  /** Handles REGION_WRITE. @returns the reply message, valid until the next access */
  write(id: number, command: number, payload: Uint8Array): Uint8Array {
    const count = this.#check(payload, 0)
    if (payload.length !== DATA + count) {
      throw new VfioUserError(Errno.EINVAL, `payload of ${payload.length} bytes instead of ${DATA + count}`)
    }
    this.#writeAll(payload, 0, count)
    this.#begin(id, command, payload, DATA)
    return this.#answer.subarray(0, HEADER_BYTES + DATA)
  }

  /** Handles REGION_WRITE_MULTI: all writes in order. @returns the reply message, valid until the next access */
  writeMulti(id: number, command: number, payload: Uint8Array): Uint8Array {
    const writes = payload.length < MULTI_WRITES ? Number.NaN : longWord(payload, 0)
    if (payload.length !== MULTI_WRITES + writes * MULTI_STRIDE) {
      throw new VfioUserError(Errno.EINVAL, `payload of ${payload.length} bytes for ${writes} writes`)
    }
    for (let i = 0, at = MULTI_WRITES; i < writes; i++, at += MULTI_STRIDE) {
      if (this.#check(payload, at) > MULTI_DATA_BYTES)
        throw new VfioUserError(Errno.EINVAL, `write ${i} exceeds ${MULTI_DATA_BYTES} bytes`)
    }
    for (let i = 0, at = MULTI_WRITES; i < writes; i++, at += MULTI_STRIDE) {
      this.#writeAll(payload, at, word(payload, at + COUNT))
    }
    this.#begin(id, command, payload, MULTI_WRITES)
    return this.#answer.subarray(0, HEADER_BYTES + MULTI_WRITES)
  }

  /** Checks the access whose fixed part is at `at`. @returns its data bytes. @throws {VfioUserError} */
  #check(payload: Uint8Array, at: number): number {
    if (payload.length < at + DATA)
      throw new VfioUserError(Errno.EINVAL, `payload of ${payload.length} bytes is too short`)
    const offset = longWord(payload, at + OFFSET)
    const region = word(payload, at + REGION)
    const count = word(payload, at + COUNT)
    const size = this.sizeOf(region)
    if (count > MAX_TRANSFER || offset + count > size) {
      throw new VfioUserError(Errno.EINVAL, `${count} bytes at ${offset} of region ${region}, which has ${size}`)
    }
    return count
  }

  #writeAll(payload: Uint8Array, at: number, count: number): void {
    const region = word(payload, at + REGION)
    let offset = longWord(payload, at + OFFSET)
    for (let from = at + DATA, end = from + count; from < end; ) {
      const width = widthAt(offset, end - from)
      const value =
        width === 4 ? word(payload, from) : width === 2 ? payload[from] | (payload[from + 1] << 8) : payload[from]
      if (region === RegionIndex.CONFIG) this.pci.configWrite(offset, width, value)
      else this.barOf(region)?.device.write(offset, width, value)
      from += width
      offset += width
    }
  }

  #read(region: number, offset: number, width: number): number {
    if (region === RegionIndex.CONFIG) return this.pci.configRead(offset, width)
    return this.barOf(region)?.device.read(offset, width) ?? 0
  }

  /** Begins a reply: the header, and the fixed part of the command. */
  #begin(id: number, command: number, payload: Uint8Array, length: number): void {
    const size = HEADER_BYTES + length
    if (size > this.#answer.length) {
      this.#answer = new Uint8Array(size)
      this.#view = new DataView(this.#answer.buffer)
    }
    const view = this.#view
    view.setUint16(HEADER_ID, id, true)
    view.setUint16(HEADER_COMMAND, command, true)
    view.setUint32(HEADER_SIZE, size, true)
    view.setUint32(HEADER_FLAGS, MessageFlag.REPLY, true)
    view.setUint32(HEADER_ERROR, 0, true)
    for (let i = 0; i < DATA && i < length; i++) this.#answer[HEADER_BYTES + i] = payload[i]
  }
}

/** Returns the widest aligned access at an offset: 4, 2 or 1 bytes, at most `length`. */
function widthAt(offset: number, length: number): number {
  if (length >= 4 && offset % 4 === 0) return 4
  return length >= 2 && offset % 2 === 0 ? 2 : 1
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
}

function longWord(bytes: Uint8Array, at: number): number {
  return word(bytes, at) + word(bytes, at + 4) * 2 ** 32
}
