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
} from '../../machine/machine.ts'
import { SAMPLE_INSPECTION } from './sample-inspection.ts'

/** Returns the colour of a pixel as 0xRRGGBB. */
export type Painter = (x: number, y: number) => number

/** Calls of a viewer, one line each: `key 30 down`. */
type Calls = string[]

/**
 * Machine without a guest, for tests of viewers: the test paints and records calls; its terminal echoes.
 *
 *     const machine = new StandInMachine([{ width: 320, height: 200 }])
 *     machine.paint(0, { x: 0, y: 0, width: 8, height: 8 }, () => 0xff0000)   // notifies listeners of the damage
 *     machine.calls                                                          // ['key 30 down', 'key 30 up']
 */
export class StandInMachine implements Machine {
  readonly scanouts: (ScanoutMode | undefined)[]
  readonly cursors: (Cursor | undefined)[]
  readonly calls: Calls = []
  /** Number of pixel reads, to measure back-pressure. */
  reads = 0
  /** Result of input methods: set it to simulate a machine that is behind. */
  behind: Promise<void> | undefined
  readonly #frames: Uint8Array[]
  readonly #listeners = new Set<MachineListener>()
  readonly #decoder = new TextDecoder()

  constructor(modes: readonly (ScanoutMode | undefined)[] = [{ width: 640, height: 400 }]) {
    this.scanouts = [...modes]
    this.cursors = modes.map(() => undefined)
    this.#frames = modes.map((mode) => new Uint8Array(mode ? mode.width * mode.height * 4 : 0))
  }

  get listeners(): number {
    return this.#listeners.size
  }

  paint(scanout: number, rect: Rect, painter: Painter): void {
    const mode = this.scanouts[scanout]
    if (!mode) throw new Error(`scanout ${scanout} is off`)
    const frame = this.#frames[scanout]
    for (let y = rect.y; y < rect.y + rect.height; y++) {
      for (let x = rect.x; x < rect.x + rect.width; x++) {
        const color = painter(x, y)
        // The fourth byte is noise: it has no meaning, and must not become transparency.
        frame.set([color & 0xff, (color >> 8) & 0xff, color >> 16, (x * y) & 0xff], (y * mode.width + x) * 4)
      }
    }
    this.notify((listener) => listener.damage?.(scanout, rect))
  }

  setMode(scanout: number, mode: ScanoutMode | undefined): void {
    this.scanouts[scanout] = mode
    this.#frames[scanout] = new Uint8Array(mode ? mode.width * mode.height * 4 : 0)
    this.notify((listener) => listener.mode?.(scanout, mode))
  }

  setCursor(scanout: number, cursor: Cursor | undefined): void {
    this.cursors[scanout] = cursor
    this.notify((listener) => listener.cursor?.(scanout, cursor))
  }

  /** Prints to the terminal. */
  print(text: string): void {
    const bytes = new TextEncoder().encode(text)
    this.notify((listener) => listener.terminal?.(bytes))
  }

  notify(what: (listener: MachineListener) => void): void {
    for (const listener of this.#listeners) what(listener)
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.notify((listener) => listener.stopped?.({ kind: 'requested', message: 'the machine was stopped' }))
  }

  listen(listener: MachineListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async readPixels(scanout: number, rect?: Rect): Promise<Pixels | undefined> {
    this.reads++
    const mode = this.scanouts[scanout]
    if (!mode) return undefined
    const x = rect?.x ?? 0
    const y = rect?.y ?? 0
    const width = Math.min(rect?.width ?? mode.width, mode.width - x)
    const height = Math.min(rect?.height ?? mode.height, mode.height - y)
    if (width <= 0 || height <= 0) return undefined
    const data = new Uint8Array(width * height * 4)
    for (let row = 0; row < height; row++) {
      const from = ((y + row) * mode.width + x) * 4
      data.set(this.#frames[scanout].subarray(from, from + width * 4), row * width * 4)
    }
    return { x, y, width, height, data }
  }

  input(event: InputEvent): Promise<void> | undefined {
    this.calls.push(callOf(event))
    if (event.type === 'resize') this.setMode(event.scanout, { width: event.width, height: event.height })
    return event.type === 'key' ? this.behind : undefined
  }

  writeTerminal(bytes: Uint8Array): Promise<void> | undefined {
    const text = this.#decoder.decode(bytes, { stream: true })
    this.calls.push(`terminal ${JSON.stringify(text)}`)
    this.print(text.replaceAll('\r', '\r\n'))
    return this.behind
  }

  resizeBalloon(size: number): void {
    this.calls.push(`balloon ${size}`)
  }

  async pause(): Promise<void> {
    this.calls.push('pause')
  }

  async resume(): Promise<void> {
    this.calls.push('resume')
  }

  async save(): Promise<Uint8Array> {
    this.calls.push('save')
    return new Uint8Array(0)
  }

  async exec(command: string, output: ExecOutput): Promise<number> {
    output.stdout(new TextEncoder().encode(`${command}\n`))
    return 0
  }

  async inspect(): Promise<Inspection> {
    this.calls.push('inspect')
    return SAMPLE_INSPECTION
  }
}

function callOf(event: InputEvent): string {
  switch (event.type) {
    case 'key':
      return `key ${event.code} ${event.pressed ? 'down' : 'up'}`
    case 'button':
      return `button 0x${event.code.toString(16)} ${event.pressed ? 'down' : 'up'}`
    case 'pointer':
      return `pointer ${event.scanout} ${event.x.toFixed(3)} ${event.y.toFixed(3)}`
    case 'wheel':
      return `wheel ${event.vertical.toFixed(3)} ${event.horizontal.toFixed(3)}`
    case 'resize':
      return `resize ${event.scanout} ${event.width}x${event.height}`
    case 'resize-terminal':
      return `terminal size ${event.columns}x${event.rows}`
  }
}
