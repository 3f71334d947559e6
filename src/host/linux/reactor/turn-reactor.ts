import type { SpanList } from '../../../memory/span-list.ts'
import type { EventFd } from '../event-fd.ts'
import { NodeLoop } from './node-loop.ts'
import { type Completion, Operation, OperationKind } from './operation.ts'
import type { Port, PortWatch } from './port.ts'
import { type Closable, Interest, type Reactor, type ReactorKind } from './reactor.ts'
import type { Spin } from './spin.ts'
import { Timers } from './timers.ts'

/** A reactor over whichever port the kernel offers. */
export class TurnReactor implements Reactor {
  readonly kind: ReactorKind
  readonly #port: Port
  readonly #node = new NodeLoop()
  readonly #timers = new Timers()
  readonly #hooks: (() => boolean | undefined)[] = []
  /** To be signalled when the turn ends. */
  readonly #signals: EventFd[] = []
  /** Operations not in use. */
  readonly #free: Operation[] = []
  readonly #release = (operation: Operation) => {
    this.#free.push(operation)
  }
  /** Node's event loop is to run before the next turn. */
  #breathe = false
  /** Those who want promises to run after every turn. */
  readonly #attentive = new Set<object>()
  #stopped = false

  readonly #spin: Spin
  readonly #look: () => boolean

  constructor(port: Port, spin: Spin) {
    this.kind = port.kind
    this.#port = port
    this.#spin = spin
    this.#look = () => port.look()
    this.watch(this.#node.fd, () => {
      if (this.#node.busy) this.#breathe = true
    })
  }

  watch(fd: number, ready: () => void, interest: Interest = Interest.READABLE): Closable {
    const watch = new Watch(this.#port, fd, ready, interest)
    this.#port.watch(watch)
    return watch
  }

  signal(event: EventFd): void {
    if (!this.#signals.includes(event)) this.#signals.push(event)
  }

  readSpans(fd: number, offset: number, spans: SpanList, completion: Completion): void {
    this.#move(OperationKind.READ, fd, offset, spans, completion)
  }

  writeSpans(fd: number, offset: number, spans: SpanList, completion: Completion): void {
    this.#move(OperationKind.WRITE, fd, offset, spans, completion)
  }

  sync(fd: number, completion: Completion): void {
    const operation = this.#operation()
    operation.beginSync(fd, completion)
    this.#port.start(operation)
  }

  allocate(fd: number, mode: number, offset: number, length: number, completion: Completion): void {
    const operation = this.#operation()
    operation.beginAllocate(fd, mode, offset, length, completion)
    this.#port.start(operation)
  }

  timer(milliseconds: number, fire: () => void): Closable {
    return this.#timers.add(milliseconds, fire)
  }

  onTurn(hook: () => boolean | undefined): Closable {
    this.#hooks.push(hook)
    return {
      close: () => {
        const index = this.#hooks.indexOf(hook)
        if (index >= 0) this.#hooks.splice(index, 1)
      },
    }
  }

  attend(): Closable {
    const attention = {}
    this.#attentive.add(attention)
    return { close: () => this.#attentive.delete(attention) }
  }

  settle(promise: Promise<unknown>): void {
    const attention = this.attend()
    const settled = () => attention.close()
    promise.then(settled, settled)
  }

  async run(): Promise<void> {
    this.#stopped = false
    while (!this.#stopped) {
      this.#turn()
      if (!this.#breathe && this.#attentive.size === 0) continue
      this.#breathe = false
      await this.#node.breathe()
    }
  }

  stop(): void {
    this.#stopped = true
  }

  close(): void {
    this.#port.close()
    this.#node.close()
  }

  #operation(): Operation {
    return this.#free.pop() ?? new Operation(this.#release)
  }

  #move(
    kind: typeof OperationKind.READ | typeof OperationKind.WRITE,
    fd: number,
    offset: number,
    spans: SpanList,
    completion: Completion,
  ): void {
    const operation = this.#operation()
    operation.beginMove(kind, fd, offset, spans, completion)
    this.#port.start(operation)
  }

  #turn(): void {
    let more = false
    for (const hook of this.#hooks) {
      if (hook() === true) more = true
    }
    for (const event of this.#signals) {
      // Whoever it was for may be gone since.
      if (!event.descriptor.closed) this.#port.signal(event)
    }
    this.#signals.length = 0
    const node = this.#node.timeout
    if (node === 0) this.#breathe = true
    const sleepless = more || this.#breathe || this.#stopped
    const timeout = sleepless ? 0 : Math.min(node, this.#timers.left)
    const calm = (timeout > 0 && this.#spin.beforeSleep(timeout, this.#look)) || this.#port.turn(timeout)
    // Node tells its signal handlers from its event loop.
    if (!calm) this.#breathe = true
    this.#timers.fire()
  }
}

class Watch implements PortWatch, Closable {
  closed = false

  constructor(
    private readonly port: Port,
    readonly fd: number,
    readonly ready: () => void,
    readonly interest: Interest,
  ) {}

  close(): void {
    if (this.closed) return
    this.closed = true
    this.port.unwatch(this)
  }
}
