import type { Pending } from '../../../pending/pending.ts'
import { type Disk, DiskOp, SECTOR_BYTES } from '../../../services/disk.ts'
import type { SavedState } from '../../../snapshot/saved-state.ts'
import { flag, stateShape } from '../../../snapshot/shape.ts'
import { ConfigSpace } from '../../../virtio/config-space.ts'
import type { DriverSession, VirtioDevice } from '../../../virtio/device.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { hasFeature } from '../../../virtio/feature.ts'
import type { Chain } from '../../../virtqueue/chain.ts'
import { blockFeatures, writeConfig } from './block-config.ts'
import { BlockRequest } from './block-request.ts'
import { BlkFeature, BlkStatus, BlkType, CONFIG_BYTES, CONFIG_WRITEBACK, HEADER_BYTES, ID_BYTES } from './protocol.ts'
import { Refusal } from './refusal.ts'
import { RequestQueue } from './request-queue.ts'

/** Descriptors of each queue. Header and status of a request take one each. */
const QUEUE_SIZE = 256
const SEG_MAX = QUEUE_SIZE - 2

/** The disk itself is not part of the state: the destination has the same one. */
const STATE = stateShape('block', 1, { writeback: flag })

/** Logical block sizes of disks, in bytes. A partition table must be read with the size it was written with. */
export const LOGICAL_BLOCK_SIZES = [512, 4096] as const
export type LogicalBlockSize = (typeof LOGICAL_BLOCK_SIZES)[number]

export interface BlockDeviceOptions {
  /** Device ID string that GET_ID returns: up to 20 ASCII characters. @default '' */
  readonly serial?: string
  /** Number of request queues. @default 1 */
  readonly queues?: number
  /**
   * Logical block size in bytes. It must match the disk's contents, because partition tables and file systems count in
   * these blocks. @default 512
   */
  readonly logicalBlockSize?: LogicalBlockSize | undefined
}

/** Counters since the device was created. */
export interface BlockCounters {
  reads: number
  writes: number
  flushes: number
  discards: number
  writeZeroes: number
  bytesRead: number
  bytesWritten: number
  /** Requests that failed, including those without a status byte. */
  errors: number
}

/**
 * Block device: the sectors of a disk. The disk accesses the driver's buffers directly.
 *
 *     const device = new BlockDevice(new MemoryDisk(new Uint8Array(1 << 20)), { serial: 'scratch' })
 *     const rig = activateDevice(device)
 *     rig.send(0, [header(BlkType.IN, 0)], [512, 1])      // one sector, then the status
 *
 * Every queue carries requests: a header and data that the device reads, data that it writes, and a final status byte.
 * A request is pushed when the disk completes it, so requests end in any order.
 *
 * @virtio 5.2
 */
export class BlockDevice implements VirtioDevice {
  readonly id = DeviceId.BLOCK
  readonly name: string
  readonly queueSizes: readonly number[]
  readonly features: bigint
  readonly featureNames = BlkFeature
  readonly config = new ConfigSpace(CONFIG_BYTES, () => this.#configWritten())
  readonly counters: BlockCounters = {
    reads: 0,
    writes: 0,
    flushes: 0,
    discards: 0,
    writeZeroes: 0,
    bytesRead: 0,
    bytesWritten: 0,
    errors: 0,
  }
  readonly #disk: Disk
  readonly #logicalBlockSize: LogicalBlockSize
  readonly #id: Uint8Array
  readonly #queues: readonly RequestQueue[]
  /** Request objects for reuse; at most one for each descriptor of the queues. */
  readonly #free: BlockRequest[] = []
  #session: DriverSession | undefined
  /** Capacity in sectors. */
  #capacity = 0
  /** Writeback cache: completed writes may be volatile until a flush. If false, each write is followed by a flush. */
  #writeback = true
  /** Cache mode of a restored state, until features are negotiated. */
  #restored: boolean | undefined
  /** Negotiated features that requests depend on. */
  #canSetWriteback = false
  #canDiscard = false
  #canWriteZeroes = false
  #lastError: string | undefined
  readonly #publishSoon = () => this.#session?.publishSoon()
  readonly #start = (chain: Chain, requests: RequestQueue) => this.#serve(chain, requests)
  readonly #done = (request: BlockRequest, failure: string | undefined) => this.#finish(request, failure)

  constructor(disk: Disk, options: BlockDeviceOptions = {}) {
    const { serial = '', queues = 1, logicalBlockSize = 512 } = options
    this.#disk = disk
    this.#logicalBlockSize = logicalBlockSize
    this.#id = idBytes(serial)
    this.name = serial === '' ? 'block' : `block ${serial}`
    this.queueSizes = new Array(queues).fill(QUEUE_SIZE)
    this.#queues = this.queueSizes.map(() => new RequestQueue(this.#publishSoon))
    this.features = blockFeatures(disk, queues)
    this.#capacity = this.#wholeBlocks()
    this.negotiated(this.features)
  }

  /** Updates the capacity after the disk changed its size, and notifies the driver. @virtio 5.2.6.2 */
  resize(): void {
    this.#capacity = this.#wholeBlocks()
    this.config.update(() => this.#writeConfig())
  }

  /** @virtio 5.2.5.2 without FLUSH the driver cannot make writes stable, so a write must be stable on completion */
  negotiated(features: bigint): void {
    this.#canSetWriteback = hasFeature(features, BlkFeature.CONFIG_WCE)
    this.#canDiscard = hasFeature(features, BlkFeature.DISCARD)
    this.#canWriteZeroes = hasFeature(features, BlkFeature.WRITE_ZEROES)
    this.#writeback = (this.#canSetWriteback ? this.#restored : undefined) ?? hasFeature(features, BlkFeature.FLUSH)
    this.#restored = undefined
    this.#writeConfig()
  }

  start(session: DriverSession): void {
    this.#session = session
  }

  notify(index: number): void {
    const queue = this.#session?.queues[index]
    if (queue) this.#queues[index].serve(queue, this.#start)
  }

  /** Does not flush: volatile writes stay volatile until a driver flushes. */
  reset(): void {
    this.#session = undefined
    this.#restored = undefined
    this.negotiated(this.features)
  }

  stopQueue(index: number): void | Pending {
    return this.#queues[index].idle()
  }

  /** Does nothing: the disk works on requests only, and none is in flight. */
  suspend(): void {}

  resume(): void {}

  save(): SavedState {
    return STATE.write({ writeback: this.#restored ?? this.#writeback })
  }

  restore(state: SavedState): void {
    this.#restored = STATE.read(state).writeback
  }

  inspect() {
    return {
      capacity: this.#capacity * SECTOR_BYTES,
      logicalBlockSize: this.#logicalBlockSize,
      readOnly: this.#disk.readOnly,
      cache: this.#writeback ? 'writeback' : 'writethrough',
      inFlight: this.#queues.reduce((sum, requests) => sum + requests.inFlight, 0),
      ...this.counters,
      lastError: this.#lastError,
      disk: this.#disk.inspect?.(),
    }
  }

  /** Handles a driver's write to the configuration space. Only the cache mode is writable. @virtio 5.2.5 */
  #configWritten(): void {
    const value = this.config.view.getUint8(CONFIG_WRITEBACK)
    if (this.#canSetWriteback && value <= 1) this.#writeback = value === 1
    this.#writeConfig()
  }

  /** Returns the capacity in sectors, without those of an incomplete last block. */
  #wholeBlocks(): number {
    const { byteLength } = this.#disk
    return (byteLength - (byteLength % this.#logicalBlockSize)) / SECTOR_BYTES
  }

  #writeConfig(): void {
    writeConfig(this.config.view, this.#disk, {
      queues: this.#queues.length,
      segMax: SEG_MAX,
      capacity: this.#capacity,
      logicalBlockSize: this.#logicalBlockSize,
      writeback: this.#writeback,
    })
  }

  #serve(chain: Chain, requests: RequestQueue): void {
    const request = this.#free.pop() ?? new BlockRequest(requests, chain, this.#done)
    request.begin(requests, chain)
    const refusal = this.#begin(request)
    if (!refusal) return
    this.counters.errors++
    this.#lastError = refusal.reason
    this.#answer(request, refusal.status, 0)
  }

  /** Submits a request to the disk, or answers it if it needs no I/O. @virtio 5.2.6 */
  #begin(request: BlockRequest): Refusal | undefined {
    const { reader, writer, writableLength } = request.chain
    if (writableLength === 0) return Refusal.NO_STATUS
    if (reader.remaining < HEADER_BYTES) return Refusal.SHORT_HEADER
    request.type = reader.u32()
    reader.skip(4)
    const sector = reader.u64()
    switch (request.type) {
      case BlkType.IN:
        return this.#transfer(request, DiskOp.READ, sector, writableLength - 1)
      case BlkType.OUT:
        return this.#disk.readOnly ? Refusal.READ_ONLY : this.#transfer(request, DiskOp.WRITE, sector, reader.remaining)
      case BlkType.FLUSH:
        // A flush is served even if FLUSH was not negotiated: it does no harm.
        request.flush()
        this.#submit(request)
        return undefined
      case BlkType.DISCARD:
        return this.#canDiscard ? this.#segments(request) : Refusal.NOT_NEGOTIATED
      case BlkType.WRITE_ZEROES:
        return this.#canWriteZeroes ? this.#segments(request) : Refusal.NOT_NEGOTIATED
      case BlkType.GET_ID:
        if (writableLength !== ID_BYTES + 1) return Refusal.ID_LENGTH
        this.#answer(request, BlkStatus.OK, writer.write(this.#id))
        return undefined
      case BlkType.GET_LIFETIME:
      case BlkType.SECURE_ERASE:
        return Refusal.NOT_NEGOTIATED
      default:
        return Refusal.UNKNOWN_TYPE
    }
  }

  #transfer(
    request: BlockRequest,
    op: typeof DiskOp.READ | typeof DiskOp.WRITE,
    sector: number,
    length: number,
  ): Refusal | undefined {
    if (length % SECTOR_BYTES !== 0) return Refusal.ODD_LENGTH
    // Sector numbers of 2^53 or more are inexact here, but lie past the end of any disk.
    if (sector > this.#capacity - length / SECTOR_BYTES) return Refusal.OUTSIDE
    request.transfer(op, sector * SECTOR_BYTES, length)
    this.#submit(request)
    return undefined
  }

  #segments(request: BlockRequest): Refusal | undefined {
    const refusal = request.readSegments(this.#capacity)
    if (refusal) return refusal
    if (request.nextSegment()) this.#submit(request)
    else this.#answer(request, BlkStatus.OK, 0)
    return undefined
  }

  #submit(request: BlockRequest): void {
    request.submitted = true
    try {
      this.#disk.submit(request)
    } catch (error) {
      // An error thrown by the disk fails this request only, not the queue.
      request.complete(`${request.op}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }

  /** Handles a completion of the disk: continues with the next part of the request, or answers it. */
  #finish(request: BlockRequest, failure: string | undefined): void {
    if (failure !== undefined) {
      this.counters.errors++
      this.#lastError = failure
      this.#answer(request, BlkStatus.IOERR, 0)
    } else if (request.nextSegment()) {
      this.#submit(request)
    } else if (!this.#writeback && request.writes && request.op !== DiskOp.FLUSH) {
      request.flush()
      this.#submit(request)
    } else {
      this.#count(request)
      this.#answer(request, BlkStatus.OK, request.type === BlkType.IN ? request.length : 0)
    }
  }

  #count(request: BlockRequest): void {
    const counters = this.counters
    switch (request.type) {
      case BlkType.IN:
        counters.reads++
        counters.bytesRead += request.length
        break
      case BlkType.OUT:
        counters.writes++
        counters.bytesWritten += request.chain.readableLength - HEADER_BYTES
        break
      case BlkType.FLUSH:
        counters.flushes++
        break
      case BlkType.DISCARD:
        counters.discards++
        break
      case BlkType.WRITE_ZEROES:
        counters.writeZeroes++
    }
  }

  /**
   * Pushes the chain, with the status in its last writable byte.
   * @param data number of bytes written at the start of the writable part. The used length includes the status only if
   *   no unwritten bytes precede it. @virtio 2.7.8.2
   */
  #answer(request: BlockRequest, status: BlkStatus, data: number): void {
    const { chain, requests } = request
    this.#free.push(request)
    chain.writer.skip(chain.writer.remaining - 1)
    chain.writer.u8(status)
    requests.answer(chain, data + 1 === chain.writableLength ? data + 1 : data)
  }
}

/** Encodes the device ID string as GET_ID returns it. @virtio 5.2.6 */
function idBytes(serial: string): Uint8Array {
  const bytes = new Uint8Array(ID_BYTES)
  for (let i = 0; i < Math.min(serial.length, ID_BYTES); i++) {
    const code = serial.charCodeAt(i)
    bytes[i] = code >= 0x20 && code < 0x7f ? code : 0x3f
  }
  return bytes
}
