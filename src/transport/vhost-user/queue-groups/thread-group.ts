import { Worker } from 'node:worker_threads'
import type { UnixStream } from '../../../host/linux/unix-stream.ts'
import type { DeviceStateInspection } from '../../../virtio/device-inspection.ts'
import type { Service } from '../../socket/accept-loop.ts'
import type { InspectedGroup } from './queue-group-server.ts'
import type { Order, ThreadReport } from './thread-messages.ts'

export interface ThreadGroupOptions {
  /** Module of the thread. It must call `runGroupThread`. */
  readonly file: URL
  /** `workerData` of the thread. */
  readonly data: unknown
  readonly log: (line: string) => void
  readonly warn: (line: string) => void
  /** Called if the thread ended without an order. */
  readonly died: (error: Error) => void
}

interface Waiting {
  resolve(value: unknown): void
  reject(error: Error): void
}

/**
 * Queue group in a thread of its own, for the main thread.
 *
 *     const group = await ThreadGroup.start({ file: new URL('./thread.js', import.meta.url), data, log, died })
 *     ...
 *     await group.end()                      // ends the thread and closes its device
 */
export class ThreadGroup implements InspectedGroup {
  readonly #worker: Worker
  readonly #exited: Promise<void>
  /** Orders that did not complete, by number. */
  readonly #waiting = new Map<number, Waiting>()
  #orders = 0
  #dead = false

  /** Resolves when its device is built; rejects if that fails. */
  static async start(options: ThreadGroupOptions): Promise<ThreadGroup> {
    return await new Promise((resolve, reject) => {
      const group: ThreadGroup = new ThreadGroup(options, () => resolve(group), reject)
    })
  }

  private constructor(options: ThreadGroupOptions, ready: () => void, failed: (error: Error) => void) {
    const worker = new Worker(options.file, { workerData: options.data })
    this.#worker = worker
    const died = (error: Error): void => {
      if (this.#dead) return
      this.#dead = true
      failed(error)
      options.died(error)
    }
    worker.on('message', (report: ThreadReport) => {
      switch (report.type) {
        case 'ready':
          ready()
          break
        case 'log':
          options.log(report.line)
          break
        case 'warning':
          options.warn(report.line)
          break
        case 'died':
          died(new Error(report.message))
          break
        default:
          this.#finish(report)
      }
    })
    worker.on('error', died)
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        died(new Error('the thread ended'))
        resolve()
      })
    })
  }

  serve(stream: UnixStream): Service {
    const closed = this.#order({ type: 'serve', fd: stream.descriptor.release() }) as Promise<string | undefined>
    return { closed, close: () => void this.#order({ type: 'leave' }) }
  }

  async inspect(): Promise<DeviceStateInspection> {
    return (await this.#order({ type: 'inspect' })) as DeviceStateInspection
  }

  /** Notifies the device that its backend may have changed. */
  async refresh(): Promise<void> {
    await this.#order({ type: 'refresh' })
  }

  /** Ends the thread. Rejects if its device reports that data may be lost. */
  async end(): Promise<void> {
    if (this.#dead) {
      await this.#exited
      return
    }
    const ended = this.#order({ type: 'end' })
    this.#dead = true
    try {
      // A thread that dies while it ends sends no result.
      await Promise.race([ended, this.#exited])
    } finally {
      await this.#exited
    }
  }

  /** Sends an order. @returns its result; rejects if it fails */
  #order(order: Order): Promise<unknown> {
    const id = this.#orders++
    this.#worker.postMessage({ id, order })
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  #finish(report: Extract<ThreadReport, { id: number }>): void {
    const waiting = this.#waiting.get(report.id)
    this.#waiting.delete(report.id)
    if (report.type === 'done') waiting?.resolve(report.value)
    else waiting?.reject(Object.assign(new Error(report.message), { name: report.name }))
  }
}
