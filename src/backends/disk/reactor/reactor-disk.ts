import { fdatasyncSync } from 'node:fs'
import { MappedRegion } from '../../../host/linux/mapping.ts'
import type { Completion } from '../../../host/linux/reactor/operation.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { errnoName } from '../../../host/linux/system-call-error.ts'
import { errorCode } from '../../../host/node/error-code.ts'
import { limitedLog } from '../../../log/limited-log.ts'
import { type Disk, DiskOp, type DiskRequest } from '../../../services/disk.ts'
import { DiskError } from '../disk-error.ts'
import { FILE_SHRANK, moveSpans } from '../move-spans.ts'
import type { SharedDiskFile } from './disk-file.ts'
import { DiskState } from './disk-state.ts'
import { RangeZeroing } from './zero-range.ts'

/**
 * A disk in a raw image, through a reactor: guest memory to file and back without a copy of ours, many requests at once.
 *
 *     const file = DiskFile.open('data.img')
 *     const disk = new ReactorDisk(file.shared, reactor)
 *     const device = new BlockDevice(disk)
 *     await reactor.run()
 *     disk.close()
 *     file.close()
 *
 * Requests whose memory the kernel cannot reach are served within `submit`; those that are not aligned as direct I/O asks
 * for go through the page cache. Both are counted.
 */
export class ReactorDisk implements Disk {
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #file: SharedDiskFile
  readonly #state: DiskState
  readonly #reactor: Reactor
  readonly #erasure: RangeZeroing
  readonly #log: (line: string) => void
  /** For what is said once. */
  readonly #logLast: (line: string) => void
  /** Tasks not in use. */
  readonly #free: Task[] = []
  readonly #done = (task: Task, result: number) => this.#finish(task, result)
  /** Requests whose memory is no mapping, and those that direct I/O does not take. */
  #unmapped = 0
  #unaligned = 0
  #closed = false

  constructor(file: SharedDiskFile, reactor: Reactor, log: (line: string) => void = () => {}) {
    this.#file = file
    this.#state = new DiskState(file.state)
    this.#reactor = reactor
    this.#log = limitedLog(log)
    this.#logLast = log
    this.#erasure = new RangeZeroing(file, reactor, this.#log)
    this.readOnly = file.readOnly
    this.canDiscard = file.canDiscard
  }

  get byteLength(): number {
    return this.#state.byteLength
  }

  submit(request: DiskRequest): void {
    if (this.#closed) {
      request.complete('the disk is closed')
      return
    }
    switch (request.op) {
      case DiskOp.READ:
      case DiskOp.WRITE:
        this.#move(request)
        break
      case DiskOp.FLUSH:
        if (this.readOnly || this.#state.flushFailure !== undefined) request.complete(this.#flushFailure)
        else this.#reactor.sync(this.#file.fd, this.#task(request))
        break
      default:
        this.#erasure.start(request, this.#task(request))
    }
  }

  /**
   * Flushes. The file stays open, for other disks.
   * @throws {DiskError} where something written may be lost
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.readOnly) return
    try {
      fdatasyncSync(this.#file.fd)
    } catch (error) {
      throw new DiskError(`${this.#file.path}: what the guest wrote may be lost: flush: ${errorCode(error)}`)
    }
    if (this.#flushFailure !== undefined) throw new DiskError(`${this.#file.path}: ${this.#flushFailure}`)
  }

  inspect() {
    const { path, locked, direct } = this.#file
    return {
      path,
      locked,
      reactor: this.#reactor.kind,
      slowCalls: this.#reactor.slowCalls,
      direct: direct !== undefined,
      erasesBy: this.#erasure.ways,
      zeroesWritten: this.#erasure.zeroesWritten,
      unmapped: this.#unmapped,
      unaligned: this.#unaligned,
      flushFailure: this.#flushFailure,
    }
  }

  get #flushFailure(): string | undefined {
    const failure = this.#state.flushFailure
    return failure === undefined ? undefined : `flush: ${failure}`
  }

  #move(request: DiskRequest): void {
    const { op, offset, data } = request
    if (!isMapped(request)) {
      this.#unmapped++
      this.#moveNow(request)
      return
    }
    const { direct } = this.#file
    let fd = this.#file.fd
    if (direct) {
      if (isAligned(request, direct.alignment.offset, direct.alignment.memory)) fd = direct.fd
      else if (this.#unaligned++ === 0) {
        const { path } = this.#file
        const multiples = `${direct.alignment.offset} bytes, in memory of ${direct.alignment.memory}`
        this.#log(`${path}: direct I/O takes multiples of ${multiples}; other requests go through the page cache`)
      }
    }
    if (op === DiskOp.READ) this.#reactor.readSpans(fd, offset, data, this.#task(request))
    else this.#reactor.writeSpans(fd, offset, data, this.#task(request), fd === direct?.fd)
  }

  #moveNow(request: DiskRequest): void {
    try {
      moveSpans(this.#file.fd, request)
      request.complete()
    } catch (error) {
      this.#fail(request, errorCode(error))
    }
  }

  #task(request: DiskRequest): Task {
    const task = this.#free.pop() ?? new Task(this.#done)
    task.request = request
    return task
  }

  /** The reactor is done with a task. */
  #finish(task: Task, result: number): void {
    const { request } = task
    task.request = undefined
    this.#free.push(task)
    if (!request) return
    if (request.op === DiskOp.FLUSH) {
      if (result < 0 && this.#state.flushFailed(-result)) {
        const what = `${this.#file.path}: ${this.#flushFailure}`
        this.#logLast(`${what}; what the guest wrote may be lost, and no flush succeeds any more`)
      }
      // Another thread may have received the write error.
      request.complete(this.#flushFailure)
    } else if (result < 0) this.#fail(request, errnoName(-result))
    else if (result < request.data.byteLength) this.#fail(request, FILE_SHRANK)
    else request.complete()
  }

  #fail(request: DiskRequest, reason: string): void {
    const failure = `${request.op} of ${request.length} bytes at ${request.offset}: ${reason}`
    this.#log(`${this.#file.path}: ${failure}`)
    request.complete(failure)
  }
}

/** A request on its way through the reactor. */
class Task implements Completion {
  request: DiskRequest | undefined

  constructor(private readonly finished: (task: Task, result: number) => void) {}

  done(result: number): void {
    this.finished(this, result)
  }
}

function isMapped({ data }: DiskRequest): boolean {
  for (let i = 0; i < data.count; i++) if (!(data.regions[i] instanceof MappedRegion)) return false
  return true
}

/** Whether a request whose memory is mapped fits direct I/O. */
function isAligned({ offset, data }: DiskRequest, block: number, memory: number): boolean {
  if (offset % block !== 0) return false
  for (let i = 0; i < data.count; i++) {
    const region = data.regions[i]
    if (!(region instanceof MappedRegion)) return false
    if ((region.address + data.offsets[i]) % memory !== 0 || data.lengths[i] % block !== 0) return false
  }
  return true
}
