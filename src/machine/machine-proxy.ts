import { UsageError } from '../services/usage-error.ts'
import { Gate } from './gate.ts'
import type {
  Cursor,
  ExecOutput,
  InputEvent,
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

/** Time for an engine to flush its disks; then it is terminated. */
const STOP_TIMEOUT_MS = 10_000
/** Maximum number of input commands that the engine has not handled; further callers wait. */
const MAX_INPUT = 256

/** Command that runs in the guest, or waits until the guest is ready. */
interface Execution {
  readonly output: ExecOutput
  readonly resolve: (status: number) => void
  readonly reject: (error: Error) => void
  /** Settles when the output so far was accepted. */
  taken: Promise<unknown>
}

/** Answer to a command that controls the engine. */
type ControlAnswer = Pick<Extract<Report, { type: 'done' }>, 'bytes' | 'error'>

/** Runs a guest and its devices in another thread or in other processes. */
export interface MachineEngine {
  /** Starts the guest. Reports follow; the first one is `started` or `refused`. */
  start(events: EngineEvents): void
  send(command: MachineCommand): void
  /** Terminates everything that still runs. */
  terminate(): Promise<void>
}

export interface EngineEvents {
  report(report: Report): void
  /** The engine ended without a `stop` command. */
  exited(message: string): void
}

/**
 * Machine whose guest runs in an engine. The constructor starts nothing.
 *
 *     const machine = new MachineProxy(new WorkerEngine(options))
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
  /** Reason why the guest stopped. Its screen can still be read. */
  #ended: StopReason | undefined
  /** True before the engine starts and after it ended. */
  #engineEnded = true
  #execution: Execution | undefined
  /** Resolves when all commands so far ended. */
  #executions: Promise<unknown> = Promise.resolve()
  readonly #pixels = new Map<number, (pixels: Pixels | undefined) => void>()
  readonly #controls = new Map<number, (answer: ControlAnswer) => void>()
  readonly #inspections = new Map<number, (inspection: Inspection) => void>()
  #lastId = 0
  readonly #terminalInput = new TerminalInput((bytes) => this.#send({ type: 'terminal', bytes }))
  /** Number of input commands that the engine has not handled. */
  #unhandled = 0
  readonly #inputGate = new Gate()
  /** Called when the engine answered `stop`. */
  #stopped: () => void = () => {}

  constructor(engine: MachineEngine) {
    this.#engine = engine
  }

  start(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => {
      this.#starting = { resolve, reject }
    })
    this.#engineEnded = false
    this.#engine.start({
      report: (report) => this.#receive(report),
      exited: (message) => this.#engineExited({ kind: 'failure', message }),
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
    if (!this.scanouts[scanout]) return Promise.resolve(undefined)
    return this.#request(this.#pixels, undefined, (id) => ({ type: 'read-pixels', id, scanout, rect }))
  }

  inspect(): Promise<Inspection> {
    return this.#request(this.#inspections, { devices: [] }, (id) => ({ type: 'inspect', id }))
  }

  resizeBalloon(size: number, device?: string): void {
    this.#send({ type: 'resize-balloon', size, ...(device !== undefined && { device }) })
  }

  async pause(): Promise<void> {
    await this.#control('pause')
  }

  async resume(): Promise<void> {
    await this.#control('resume')
  }

  async save(): Promise<Uint8Array> {
    return (await this.#control('save')).bytes ?? new Uint8Array(0)
  }

  input(event: InputEvent): void | Promise<void> {
    if (this.#engineEnded || this.#ended) return
    this.#send(event)
    if (++this.#unhandled > MAX_INPUT) return this.#inputGate.wait()
  }

  writeTerminal(bytes: Uint8Array): void | Promise<void> {
    if (!this.#engineEnded && !this.#ended) return this.#terminalInput.write(bytes)
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
    if (!this.#engineEnded) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          this.#notify((listener) => listener.log?.('the engine does not answer: terminated with requests in flight'))
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
    this.#engineExited({ kind: 'requested', message: 'stopped' })
    await this.#engine.terminate()
  }

  #send(command: MachineCommand): void {
    if (!this.#engineEnded) this.#engine.send(command)
  }

  /** Sends a question. @returns its answer; `otherwise` if no engine runs */
  #request<T>(
    waiting: Map<number, (answer: T) => void>,
    otherwise: T,
    question: (id: number) => MachineCommand,
  ): Promise<T> {
    if (this.#engineEnded) return Promise.resolve(otherwise)
    const id = ++this.#lastId
    return new Promise((resolve) => {
      waiting.set(id, resolve)
      this.#send(question(id))
    })
  }

  async #control(type: 'pause' | 'resume' | 'save'): Promise<ControlAnswer> {
    if (this.#ended) throw new Error(this.#ended.message)
    const answer = await this.#request(this.#controls, { error: 'the machine does not run' }, (id) => ({ type, id }))
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer
  }

  #notify(tell: (listener: MachineListener) => void): void {
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
        this.#engineExited({ kind: 'failure', message: report.message }, error)
        return
      }
      case 'progress':
        this.#notify((listener) => listener.progress?.(report.step))
        return
      case 'log':
        this.#notify((listener) => listener.log?.(report.line))
        return
      case 'mode':
        this.scanouts[report.scanout] = report.mode
        this.#notify((listener) => listener.mode?.(report.scanout, report.mode))
        return
      case 'damage':
        for (const rect of report.rects) this.#notify((listener) => listener.damage?.(report.scanout, rect))
        this.#send({ type: 'damage-taken', scanout: report.scanout })
        return
      case 'pixels':
        this.#pixels.get(report.id)?.(report.pixels)
        this.#pixels.delete(report.id)
        return
      case 'cursor':
        this.cursors[report.scanout] = report.cursor
        this.#notify((listener) => listener.cursor?.(report.scanout, report.cursor))
        return
      case 'bytes':
        this.#takeBytes(report.stream, report.bytes)
        return
      case 'input-handled':
        if (--this.#unhandled <= MAX_INPUT) this.#inputGate.open()
        return
      case 'typed':
        this.#terminalInput.taken()
        return
      case 'led':
        this.#notify((listener) => listener.led?.(report.code, report.on, report.device))
        return
      case 'executed': {
        const execution = this.#execution
        // Until its output is accepted, the execution fails if the guest stops.
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
      case 'done':
        this.#controls.get(report.id)?.(report)
        this.#controls.delete(report.id)
        return
      case 'ended':
        this.#end(report.reason)
        return
      case 'stopped':
        this.#stopped()
    }
  }

  /** Delivers bytes, and acknowledges them to the engine when all receivers accepted them. */
  #takeBytes(stream: Stream, bytes: Uint8Array): void {
    const pending: (void | Promise<void>)[] = []
    const execution = this.#execution
    if (stream === Stream.TERMINAL) this.#notify((listener) => pending.push(listener.terminal?.(bytes)))
    else if (stream === Stream.STDOUT) pending.push(execution?.output.stdout(bytes))
    else pending.push(execution?.output.stderr(bytes))
    const acknowledge = (): void => this.#send({ type: 'taken', stream, bytes: bytes.length })
    const promises = pending.filter((promise) => promise !== undefined)
    if (promises.length === 0) {
      acknowledge()
      return
    }
    const settled = Promise.allSettled(promises).then(acknowledge)
    if (execution && stream !== Stream.TERMINAL) execution.taken = Promise.all([execution.taken, settled])
  }

  /** The engine ended: answers all open requests. */
  #engineExited(reason: StopReason, error = new Error(reason.message)): void {
    if (this.#engineEnded) return
    this.#engineEnded = true
    this.#dropInput()
    this.#stopped()
    for (const answer of this.#pixels.values()) answer(undefined)
    for (const answer of this.#inspections.values()) answer({ devices: [] })
    for (const answer of this.#controls.values()) answer({ error: reason.message })
    this.#controls.clear()
    this.#pixels.clear()
    this.#inspections.clear()
    const starting = this.#starting
    this.#starting = undefined
    if (starting) {
      // A guest that never ran does not report `stopped`: `start` rejects instead.
      this.#ended = reason
      starting.reject(error)
    } else {
      this.#end(reason)
    }
  }

  /** The guest stopped. Only the first reason is reported. */
  #end(reason: StopReason): void {
    if (this.#ended) return
    this.#ended = reason
    this.#dropInput()
    this.#execution?.reject(notExecuted(reason))
    this.#execution = undefined
    this.#notify((listener) => listener.stopped?.(reason))
  }

  /** Discards waiting input. */
  #dropInput(): void {
    this.#terminalInput.clear()
    this.#inputGate.open()
  }
}

function notExecuted(reason: StopReason): Error {
  return new Error(`the command did not end: ${reason.message}`)
}
