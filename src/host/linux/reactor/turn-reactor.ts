import type { SpanList } from '../../../memory/span-list.ts'
import type { EventFd } from '../event-fd.ts'
import { NodeLoop } from './node-loop.ts'
import { type Completion, Operation, OperationKind } from './operation.ts'
import { type Closable, Interest, type Poller, type Reactor, type ReactorKind } from './reactor.ts'
import type { PortWatch, ReactorBackend } from './reactor-backend.ts'
import type { Spin } from './spin.ts'
import { Timers } from './timers.ts'

/** A reactor over whichever port the kernel offers. */
export class TurnReactor implements Reactor {
  readonly kind: ReactorKind
  #port: ReactorBackend
  readonly #node = new NodeLoop()
  readonly #timers = new Timers()
  /** Each may close any of them, and none of the others is passed over. */
  readonly #hooks = new Set<() => boolean | undefined>()
  readonly #pollers = new Set<Poller>()
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
  /** What ends `run`, while it runs. */
  #running: { resolve(): void; reject(error: unknown): void } | undefined
  /** Takes turns until Node's event loop has something to do, which calls it again. */
  readonly #takeTurns = () => {
    try {
      while (!this.#stopped) {
        this.#turn()
        if (!this.#breathe && this.#attentive.size === 0) continue
        this.#breathe = false
        this.#node.runNodeLoop(this.#takeTurns)
        return
      }
      this.#running?.resolve()
    } catch (error) {
      this.#running?.reject(error)
    }
    this.#running = undefined
  }

  /** Something happened in the turn before; polling found some of it. */
  #worked = false
  #found = false
  readonly #spin: Spin

  constructor(port: ReactorBackend, spin: Spin) {
    this.kind = port.kind
    this.#port = port
    this.#spin = spin
    this.watch(this.#node.fd, () => {
      if (this.#node.busy) this.#breathe = true
    })
  }

  get slowCalls(): number {
    return this.#port.slowCalls
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
    this.#move(OperationKind.READ, fd, offset, spans, completion, false)
  }

  writeSpans(fd: number, offset: number, spans: SpanList, completion: Completion, direct = false): void {
    this.#move(OperationKind.WRITE, fd, offset, spans, completion, direct)
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
    return listed(this.#hooks, hook)
  }

  poll(poller: Poller): Closable {
    return listed(this.#pollers, poller)
  }

  keepMicrotasksRunning(): Closable {
    const attention = {}
    this.#attentive.add(attention)
    return { close: () => this.#attentive.delete(attention) }
  }

  settle(promise: Promise<unknown>): void {
    const attention = this.keepMicrotasksRunning()
    const settled = () => attention.close()
    promise.then(settled, settled)
  }

  run(): Promise<void> {
    this.#stopped = false
    return new Promise((resolve, reject) => {
      if (this.#port === CLOSED) refuse()
      this.#running = { resolve, reject }
      // Microtasks that the caller left behind run before the first turn sleeps.
      this.#node.runNodeLoop(this.#takeTurns)
    })
  }

  stop(): void {
    this.#stopped = true
  }

  close(): void {
    if (this.#running) throw new Error('a reactor that runs cannot be closed: stop it, and wait for `run`')
    if (this.#port === CLOSED) return
    this.#port.close()
    this.#port = CLOSED
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
    direct: boolean,
  ): void {
    const operation = this.#operation()
    operation.beginMove(kind, fd, offset, spans, completion, direct)
    this.#port.start(operation)
  }

  #turn(): void {
    const looks = this.#poll()
    let more = looks
    for (const hook of this.#hooks) {
      if (hook() === true) more = true
    }
    for (const event of this.#signals) {
      // The watch may have been closed since.
      if (!event.descriptor.closed) this.#port.signal(event)
    }
    this.#signals.length = 0
    const node = this.#node.timeout
    if (node === 0) this.#breathe = true
    const sleepless = more || this.#breathe || this.#stopped
    const happened = this.#port.turn(sleepless ? 0 : Math.min(node, this.#timers.left))
    if (happened > 0) this.#worked = true
    // Node tells its signal handlers from its event loop.
    else if (happened < 0) this.#breathe = true
    this.#timers.fire()
  }

  /** Polls the sources, or stops polling. @returns true to poll again instead of sleeping */
  #poll(): boolean {
    if (this.#pollers.size === 0) return false
    const polls = this.#spin.polls(this.#worked, this.#found)
    this.#worked = this.#found = false
    for (const poller of this.#pollers) {
      if (!polls) poller.stopPolling()
      else if (poller.poll()) this.#worked = this.#found = true
    }
    return polls
  }
}

/** What is left of the port of a reactor that is closed. */
const CLOSED: ReactorBackend = {
  kind: 'epoll',
  slowCalls: 0,
  watch: refuse,
  unwatch() {},
  signal: refuse,
  start: refuse,
  turn: refuse,
  close() {},
}

function refuse(): never {
  throw new Error('the reactor is closed')
}

/** Adds something until it is closed. */
function listed<T>(list: Set<T>, item: T): Closable {
  list.add(item)
  return { close: () => void list.delete(item) }
}

class Watch implements PortWatch, Closable {
  closed = false

  constructor(
    private readonly port: ReactorBackend,
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
