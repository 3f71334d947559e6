import { UsageError } from '../services/usage-error.ts'
import { Gate } from './gate.ts'
import type {
  Cursor,
  ExecOutput,
  Inspection,
  Machine,
  MachineListener,
  Pixels,
  Rect,
  ScanoutMode,
  StopReason,
} from './machine.ts'
import { type MachineCommand, type Report, Stream } from './messages.ts'
import { TerminalInput } from './terminal-input.ts'

/** How long an engine may take to flush its disks before it is ended anyway. */
const STOP_TIMEOUT_MS = 10_000
/** Commands of input on their way to the engine; callers wait while there are more. */
const MAX_INPUT = 256

/** A command that runs in the guest, or waits for the guest to be ready. */
interface Execution {
  readonly output: ExecOutput
  readonly resolve: (status: number) => void
  readonly reject: (error: Error) => void
  /** Settles when the output so far was taken. */
  taken: Promise<unknown>
}

/** What runs a guest and its devices somewhere else: in another thread, in other processes. */
export interface MachineEngine {
  /** Starts the guest. Reports follow, `started` or `refused` first. */
  start(events: EngineEvents): void
  send(command: MachineCommand): void
  /** Ends all that is left of it. */
  terminate(): Promise<void>
}

export interface EngineEvents {
  report(report: Report): void
  /** It ended by itself, without an answer to `stop`. */
  left(message: string): void
}

/**
 * A guest that an engine runs somewhere else. Nothing is started yet.
 *
 *     const machine = new RemoteMachine(new WorkerEngine(options))
 *     await machine.start()
 */
export class MachineProxy implements Machine {
  readonly scanouts: (ScanoutMode | undefined)[] = []
  readonly cursors: (Cursor | undefined)[] = []
  readonly #engine: MachineEngine
  readonly #listeners = new Set<MachineListener>()
  #stopping: Promise<void> | undefined
  /** Settles `start`. */
  #starting: { resolve: () => void; reject: (error: Error) => void } | undefined
  /** Why the guest runs no more. Its screen can still be read. */
  #ended: StopReason | undefined
  /** There is no engine yet, or none any more. */
  #gone = true
  #execution: Execution | undefined
  /** Resolves when the commands so far are done. */
  #executions: Promise<unknown> = Promise.resolve()
  readonly #pixels = new Map<number, (pixels: Pixels | undefined) => void>()
  readonly #inspections = new Map<number, (inspection: Inspection) => void>()
  #lastId = 0
  readonly #terminalInput = new TerminalInput((bytes) => this.#send({ type: 'terminal', bytes }))
  /** Commands of input the engine has not obeyed yet. */
  #unobeyed = 0
  readonly #inputGate = new Gate()
  /** Resolves when the engine has answered `stop`. */
  #stopped: () => void = () => {}

  constructor(engine: MachineEngine) {
    this.#engine = engine
  }

  start(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => {
      this.#starting = { resolve, reject }
    })
    this.#gone = false
    this.#engine.start({
      report: (report) => this.#receive(report),
      left: (message) => this.#leave({ kind: 'failure', message }),
    })
    return started
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  listen(listener: MachineListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  readPixels(scanout: number, rect?: Rect): Promise<Pixels | undefined> {
    return this.#ask(this.#pixels, undefined, (id) => ({ type: 'read-pixels', id, scanout, rect }))
  }

  inspect(): Promise<Inspection> {
    return this.#ask(this.#inspections, { devices: [] }, (id) => ({ type: 'inspect', id }))
  }

  key(code: number, pressed: boolean): void | Promise<void> {
    return this.#input({ type: 'key', code, pressed })
  }

  pointer(scanout: number, x: number, y: number): void | Promise<void> {
    return this.#input({ type: 'pointer', scanout, x, y })
  }

  button(code: number, pressed: boolean): void | Promise<void> {
    return this.#input({ type: 'button', code, pressed })
  }

  wheel(vertical: number, horizontal: number): void | Promise<void> {
    return this.#input({ type: 'wheel', vertical, horizontal })
  }

  resize(scanout: number, width: number, height: number): void | Promise<void> {
    return this.#input({ type: 'resize', scanout, width, height })
  }

  writeTerminal(bytes: Uint8Array): void | Promise<void> {
    if (!this.#gone && !this.#ended) return this.#terminalInput.write(bytes)
  }

  resizeTerminal(columns: number, rows: number): void | Promise<void> {
    return this.#input({ type: 'resize-terminal', columns, rows })
  }

  exec(command: string, output: ExecOutput): Promise<number> {
    const done = this.#executions.then(() => this.#execute(command, output))
    this.#executions = done.catch(() => {})
    return done
  }

  #execute(command: string, output: ExecOutput): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#ended) {
        reject(notExecuted(this.#ended))
        return
      }
      this.#execution = { output, resolve, reject, taken: Promise.resolve() }
      this.#send({ type: 'execute', command })
    })
  }

  async #stop(): Promise<void> {
    if (!this.#gone) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          this.#tell((listener) => listener.log?.('the engine does not answer: ended with requests in flight'))
          resolve()
        }, STOP_TIMEOUT_MS)
        timer.unref()
        this.#stopped = () => {
          clearTimeout(timer)
          resolve()
        }
        this.#send({ type: 'stop' })
      })
    }
    this.#leave({ kind: 'requested', message: 'stopped' })
    await this.#engine.terminate()
  }

  #input(command: MachineCommand): void | Promise<void> {
    if (this.#gone || this.#ended) return
    this.#send(command)
    if (++this.#unobeyed > MAX_INPUT) return this.#inputGate.wait()
  }

  #send(command: MachineCommand): void {
    if (!this.#gone) this.#engine.send(command)
  }

  /** Sends a question; its answer, or `otherwise` where nothing runs. */
  #ask<T>(
    waiting: Map<number, (answer: T) => void>,
    otherwise: T,
    question: (id: number) => MachineCommand,
  ): Promise<T> {
    if (this.#gone) return Promise.resolve(otherwise)
    const id = ++this.#lastId
    return new Promise((resolve) => {
      waiting.set(id, resolve)
      this.#send(question(id))
    })
  }

  #tell(tell: (listener: MachineListener) => void): void {
    for (const listener of this.#listeners) tell(listener)
  }

  #receive(report: Report): void {
    switch (report.type) {
      case 'started':
        this.#starting?.resolve()
        this.#starting = undefined
        return
      case 'refused': {
        const error = report.usage ? new UsageError(report.message) : new Error(report.message)
        this.#leave({ kind: 'failure', message: report.message }, error)
        return
      }
      case 'progress':
        this.#tell((listener) => listener.progress?.(report.step))
        return
      case 'log':
        this.#tell((listener) => listener.log?.(report.line))
        return
      case 'mode':
        this.scanouts[report.scanout] = report.mode
        this.#tell((listener) => listener.mode?.(report.scanout, report.mode))
        return
      case 'damage':
        for (const rect of report.rects) this.#tell((listener) => listener.damage?.(report.scanout, rect))
        this.#send({ type: 'damage-taken', scanout: report.scanout })
        return
      case 'pixels':
        this.#pixels.get(report.id)?.(report.pixels)
        this.#pixels.delete(report.id)
        return
      case 'cursor':
        this.cursors[report.scanout] = report.cursor
        this.#tell((listener) => listener.cursor?.(report.scanout, report.cursor))
        return
      case 'bytes':
        this.#takeBytes(report.stream, report.bytes)
        return
      case 'obeyed':
        if (--this.#unobeyed <= MAX_INPUT) this.#inputGate.open()
        return
      case 'typed':
        this.#terminalInput.taken()
        return
      case 'led':
        this.#tell((listener) => listener.led?.(report.code, report.on))
        return
      case 'executed': {
        const execution = this.#execution
        // Until its output is taken, it fails with the guest.
        void execution?.taken.then(() => {
          if (this.#execution === execution) this.#execution = undefined
          execution.resolve(report.status)
        })
        return
      }
      case 'inspection':
        this.#inspections.get(report.id)?.(report.inspection)
        this.#inspections.delete(report.id)
        return
      case 'ended':
        this.#end(report.reason)
        return
      case 'stopped':
        this.#stopped()
    }
  }

  /** Hands bytes on, and tells the engine once all who got them took them. */
  #takeBytes(stream: Stream, bytes: Uint8Array): void {
    const takers: (void | Promise<void>)[] = []
    const execution = this.#execution
    if (stream === Stream.TERMINAL) this.#tell((listener) => takers.push(listener.terminal?.(bytes)))
    else if (stream === Stream.STDOUT) takers.push(execution?.output.stdout(bytes))
    else takers.push(execution?.output.stderr(bytes))
    const taken = (): void => this.#send({ type: 'taken', stream, bytes: bytes.length })
    const late = takers.filter((taker) => taker !== undefined)
    if (late.length === 0) {
      taken()
      return
    }
    const settled = Promise.allSettled(late).then(taken)
    if (execution && stream !== Stream.TERMINAL) execution.taken = Promise.all([execution.taken, settled])
  }

  /** The engine does nothing more. */
  #leave(reason: StopReason, error = new Error(reason.message)): void {
    if (this.#gone) return
    this.#gone = true
    this.#dropInput()
    this.#stopped()
    for (const answer of this.#pixels.values()) answer(undefined)
    for (const answer of this.#inspections.values()) answer({ devices: [] })
    this.#pixels.clear()
    this.#inspections.clear()
    const starting = this.#starting
    this.#starting = undefined
    if (starting) {
      // A guest that never ran does not stop: `start` rejects instead.
      this.#ended = reason
      starting.reject(error)
    } else {
      this.#end(reason)
    }
  }

  /** The guest runs no more; only the first reason counts. */
  #end(reason: StopReason): void {
    if (this.#ended) return
    this.#ended = reason
    this.#dropInput()
    this.#execution?.reject(notExecuted(reason))
    this.#execution = undefined
    this.#tell((listener) => listener.stopped?.(reason))
  }

  /** Nothing takes input any more. */
  #dropInput(): void {
    this.#terminalInput.clear()
    this.#inputGate.open()
  }
}

function notExecuted(reason: StopReason): Error {
  return new Error(`the command did not end: ${reason.message}`)
}
