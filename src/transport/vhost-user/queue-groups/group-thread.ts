import { type MessagePort, parentPort } from 'node:worker_threads'
import { Descriptor } from '../../../host/linux/descriptor.ts'
import { createReactor } from '../../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { UnixStream } from '../../../host/linux/unix-stream.ts'
import { StreamConnection } from '../../../host/socket/stream-connection.ts'
import { limitedLog } from '../../../log/limited-log.ts'
import type { VirtioDevice } from '../../../virtio/device.ts'
import { VhostUserBackend } from '../vhost-user-backend.ts'
import { inspectUnserved } from '../vhost-user-server.ts'
import { WITHHELD } from './splitter.ts'
import type { NumberedOrder, Order, ThreadReport } from './thread-messages.ts'

/** Environment of a group's device: a reactor of its own, and the log of the process. */
export interface GroupHost {
  readonly reactor: Reactor
  readonly warn: (line: string) => void
}

export interface GroupDevice {
  /** Device with all rings. */
  readonly device: VirtioDevice
  /** Called when the backend may have changed. */
  refresh?(): void
  /** Releases the backend. Called when no request is in flight. */
  close?(): void
}

/** Runs the thread of a queue group; `ThreadGroup` is its other side. */
export async function runGroupThread(make: (host: GroupHost) => GroupDevice): Promise<void> {
  if (!parentPort) throw new Error('runGroupThread must be called in a worker thread')
  await new GroupThread(parentPort, make).run()
}

class GroupThread {
  readonly #port: MessagePort
  readonly #reactor: Reactor
  readonly #served: GroupDevice
  readonly #log = limitedLog((line) => this.#report({ type: 'log', line }))
  #backend: VhostUserBackend | undefined
  #dead = false
  #ended: (value: undefined) => void = () => {}

  constructor(port: MessagePort, make: (host: GroupHost) => GroupDevice) {
    const warn = (line: string): void => this.#report({ type: 'warning', line })
    this.#port = port
    this.#reactor = createReactor({ refused: warn })
    this.#served = make({ reactor: this.#reactor, warn })
  }

  async run(): Promise<void> {
    this.#port.on('message', ({ id, order }: NumberedOrder) => this.#receive(id, order))
    // A thread that ends before its reactor is closed may end the whole process without a message.
    process.on('uncaughtException', (error) => this.#die(error))
    this.#report({ type: 'ready' })
    await this.#reactor.run().catch((error: unknown) => this.#die(error))
    if (this.#dead) this.#close()
    else this.#ended(undefined)
  }

  #die(error: unknown): void {
    this.#dead = true
    this.#report({ type: 'died', message: error instanceof Error ? error.message : String(error) })
    this.#reactor.stop()
  }

  #close(): void {
    this.#reactor.close()
    // Without handles the thread ends.
    this.#port.unref()
  }

  #report(message: ThreadReport): void {
    this.#port.postMessage(message)
  }

  #receive(id: number, order: Order): void {
    const failed = (error: unknown): void => {
      const { name, message } = error instanceof Error ? error : new Error(String(error))
      this.#report({ type: 'failed', id, name, message })
    }
    const done = (value: unknown): void => this.#report({ type: 'done', id, value })
    try {
      const result = this.#execute(order)
      if (result instanceof Promise) void result.then(done, failed)
      else done(result)
    } catch (error) {
      failed(error)
    }
  }

  #execute(order: Order): unknown {
    const { device } = this.#served
    switch (order.type) {
      case 'serve':
        return this.#serve(new UnixStream(new Descriptor(order.fd, 'the front-end')))
      case 'leave':
        return this.#backend?.close()
      case 'inspect':
        return this.#backend?.inspect() ?? inspectUnserved(device)
      case 'refresh':
        return this.#served.refresh?.()
      case 'end':
        return this.#end()
    }
  }

  #serve(stream: UnixStream): Promise<string | undefined> {
    const reactor = this.#reactor
    const backend = new VhostUserBackend(
      this.#served.device,
      (receiver) => new StreamConnection(stream, reactor, receiver),
      reactor,
      { log: this.#log, withheld: WITHHELD },
    )
    this.#backend = backend
    return backend.closed.finally(() => {
      this.#backend = undefined
    })
  }

  async #end(): Promise<void> {
    const ended = new Promise<undefined>((resolve) => {
      this.#ended = resolve
    })
    this.#reactor.stop()
    await ended
    try {
      this.#served.close?.()
    } finally {
      this.#close()
    }
  }
}
