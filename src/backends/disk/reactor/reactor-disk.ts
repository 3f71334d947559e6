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
 * Disk in a raw image, with I/O through a reactor: many requests in flight, directly between guest memory and the file.
 *
 *     const file = DiskFile.open('data.img')
 *     const disk = new ReactorDisk(file.shared, reactor)
 *     const device = new BlockDevice(disk)
 *     await reactor.run()
 *     disk.close()
 *     file.close()
 *
 * Requests whose memory the kernel cannot access are executed within `submit`. Requests without the alignment that
 * direct I/O requires use the page cache. Both are counted.
 */
export class ReactorDisk implements Disk {
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #file: SharedDiskFile
  readonly #state: DiskState
  readonly #reactor: Reactor
  readonly #zeroing: RangeZeroing
  readonly #log: (line: string) => void
  /** Unlimited log, for a line that is written once. */
  readonly #logOnce: (line: string) => void
  /** Tasks that are not in use. */
  readonly #free: Task[] = []
  readonly #done = (task: Task, result: number) => this.#finish(task, result)
  /** Number of requests whose memory is not mapped, and of those without the alignment for direct I/O. */
  #unmapped = 0
  #unaligned = 0
  #closed = false

  constructor(file: SharedDiskFile, reactor: Reactor, log: (line: string) => void = () => {}) {
    this.#file = file
    this.#state = new DiskState(file.state)
    this.#reactor = reactor
    this.#log = limitedLog(log)
    this.#logOnce = log
    this.#zeroing = new RangeZeroing(file, reactor, this.#log)
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
        this.#zeroing.start(request, this.#task(request))
    }
  }

  /**
   * Flushes. The file stays open for the disks of other threads.
   * @throws {DiskError} if written data may be lost
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.readOnly) return
    try {
      fdatasyncSync(this.#file.fd)
    } catch (error) {
      throw new DiskError(`${this.#file.path}: data that the guest wrote may be lost: flush: ${errorCode(error)}`)
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
      erasesBy: this.#zeroing.methods,
      zeroesWritten: this.#zeroing.zeroesWritten,
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
        const { offset: block, memory } = direct.alignment
        const needed = `multiples of ${block} bytes, and memory aligned to ${memory} bytes`
        this.#log(`${path}: direct I/O requires ${needed}; requests without that use the page cache`)
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

  /** Completes a request with the result of its task. */
  #finish(task: Task, result: number): void {
    const { request } = task
    task.request = undefined
    this.#free.push(task)
    if (!request) return
    if (request.op === DiskOp.FLUSH) {
      if (result < 0 && this.#state.flushFailed(-result)) {
        const what = `${this.#file.path}: ${this.#flushFailure}`
        this.#logOnce(`${what}: data that the guest wrote may be lost, and all later flushes fail`)
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

/** Request in flight in the reactor. Reused. */
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

/** True if a request whose memory is mapped has the alignment for direct I/O. */
function isAligned({ offset, data }: DiskRequest, block: number, memory: number): boolean {
  if (offset % block !== 0) return false
  for (let i = 0; i < data.count; i++) {
    const region = data.regions[i]
    if (!(region instanceof MappedRegion)) return false
    if ((region.address + data.offsets[i]) % memory !== 0 || data.lengths[i] % block !== 0) return false
  }
  return true
}
