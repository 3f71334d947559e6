import type { SpanList } from '../../../memory/span-list.ts'
import type { EventFd } from '../event-fd.ts'
import { NodeLoop } from './node-loop.ts'
import { type Completion, Operation, OperationKind } from './operation.ts'
import { type Closable, Interest, type Poller, type Reactor, type ReactorKind } from './reactor.ts'
import type { BackendWatch, ReactorBackend } from './reactor-backend.ts'
import type { Spin } from './spin.ts'
import { Timers } from './timers.ts'

/** Reactor over a backend. */
export class TurnReactor implements Reactor {
  readonly kind: ReactorKind
  #backend: ReactorBackend
  readonly #node = new NodeLoop()
  readonly #timers = new Timers()
  /** Hooks by `onTurn`. A set, because a hook may remove any of them without another being skipped. */
  readonly #hooks = new Set<() => boolean | undefined>()
  readonly #pollers = new Set<Poller>()
  /** Events to signal at the end of the turn. */
  readonly #signals: EventFd[] = []
  /** Operations that can be reused. */
  readonly #free: Operation[] = []
  readonly #release = (operation: Operation) => {
    this.#free.push(operation)
  }
  /** True if Node's event loop must run before the next turn. */
  #nodeHasWork = false
  /** Holders of `keepMicrotasksRunning`: while there are any, microtasks run after every turn. */
  readonly #microtaskHolders = new Set<object>()
  #stopped = false
  /** Promise functions of `run`; undefined while it is not active. */
  #running: { resolve(): void; reject(error: unknown): void } | undefined
  /** Takes turns until Node's event loop must run. The loop then calls this again. */
  readonly #takeTurns = () => {
    try {
      while (!this.#stopped) {
        this.#turn()
        if (!this.#nodeHasWork && this.#microtaskHolders.size === 0) continue
        this.#nodeHasWork = false
        this.#node.runNodeLoop(this.#takeTurns)
        return
      }
      this.#running?.resolve()
    } catch (error) {
      this.#running?.reject(error)
    }
    this.#running = undefined
  }

  /** True if the last turn had events, and if polling found work since. */
  #worked = false
  #found = false
  readonly #spin: Spin

  constructor(backend: ReactorBackend, spin: Spin) {
    this.kind = backend.kind
    this.#backend = backend
    this.#spin = spin
    this.watch(this.#node.fd, () => {
      if (this.#node.busy) this.#nodeHasWork = true
    })
  }

  get slowCalls(): number {
    return this.#backend.slowCalls
  }

  watch(fd: number, ready: () => void, interest: Interest = Interest.READABLE): Closable {
    const watch = new Watch(this.#backend, fd, ready, interest)
    this.#backend.watch(watch)
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
    this.#backend.start(operation)
  }

  allocate(fd: number, mode: number, offset: number, length: number, completion: Completion): void {
    const operation = this.#operation()
    operation.beginAllocate(fd, mode, offset, length, completion)
    this.#backend.start(operation)
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
    const holder = {}
    this.#microtaskHolders.add(holder)
    return { close: () => this.#microtaskHolders.delete(holder) }
  }

  settle(promise: Promise<unknown>): void {
    const holder = this.keepMicrotasksRunning()
    const settled = () => holder.close()
    promise.then(settled, settled)
  }

  run(): Promise<void> {
    this.#stopped = false
    return new Promise((resolve, reject) => {
      if (this.#backend === CLOSED) refuse()
      this.#running = { resolve, reject }
      // Runs pending microtasks of the caller before the first turn sleeps.
      this.#node.runNodeLoop(this.#takeTurns)
    })
  }

  stop(): void {
    this.#stopped = true
  }

  close(): void {
    if (this.#running) throw new Error('a running reactor cannot be closed: stop it, and wait for `run`')
    if (this.#backend === CLOSED) return
    this.#backend.close()
    this.#backend = CLOSED
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
    this.#backend.start(operation)
  }

  #turn(): void {
    let more = this.#poll()
    for (const hook of this.#hooks) {
      if (hook() === true) more = true
    }
    for (const event of this.#signals) {
      // The event may have been closed since `signal`.
      if (!event.descriptor.closed) this.#backend.signal(event)
    }
    this.#signals.length = 0
    const node = this.#node.timeout
    if (node === 0) this.#nodeHasWork = true
    const sleepless = more || this.#nodeHasWork || this.#stopped
    const happened = this.#backend.turn(sleepless ? 0 : Math.min(node, this.#timers.untilNext))
    if (happened > 0) this.#worked = true
    // Node calls its signal handlers from its event loop.
    else if (happened < 0) this.#nodeHasWork = true
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

/** Backend of a closed reactor. */
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

/** Adds an item to a list until the result is closed. */
function listed<T>(list: Set<T>, item: T): Closable {
  list.add(item)
  return { close: () => void list.delete(item) }
}

class Watch implements BackendWatch, Closable {
  closed = false

  constructor(
    private readonly backend: ReactorBackend,
    readonly fd: number,
    readonly ready: () => void,
    readonly interest: Interest,
  ) {}

  close(): void {
    if (this.closed) return
    this.closed = true
    this.backend.unwatch(this)
  }
}
