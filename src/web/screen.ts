import type { PageMessage, SocketFrame } from '../console/protocol.ts'
import type { ScanoutMode } from '../machine/machine.ts'
import type { Answer } from './connection.ts'
import { CursorImage } from './cursor-image.ts'
import { make } from './dom.ts'
import { linuxKeyCode } from './key-codes.ts'
import { type Keyboard, keyName } from './keyboard.ts'
import { toOpaqueRgba } from './pixels.ts'
import { Pointer } from './pointer.ts'
import { TextInput } from './text-input.ts'

export interface ScreenEvents {
  send(message: PageMessage): void
  /** Types text on the guest's keyboard. */
  text(text: string): void
  /** Escape was pressed. @returns true if it stopped typing, and is not sent to the guest */
  escape(): boolean
  /** The mode changed, or the screen was switched off. */
  mode(): void
  /** The user requested the keyboard back. */
  release(): void
}

/** One scanout of the guest: its pixels, and keyboard and pointer while it has the focus. */
export class Screen {
  readonly element: HTMLElement
  readonly #input: TextInput
  readonly #canvas: HTMLCanvasElement
  readonly #context: CanvasRenderingContext2D
  readonly #pointer: Pointer
  #mode: ScanoutMode | undefined
  /** CSS pixels per pixel of the guest. */
  #scale = 1
  /** Cursor of the guest; undefined until it shows one, and the browser's cursor is shown. */
  #cursor: CursorImage | undefined

  constructor(
    private readonly scanout: number,
    private readonly keyboard: Keyboard,
    private readonly events: ScreenEvents,
  ) {
    this.#canvas = make('canvas')
    this.#canvas.width = 0
    this.#canvas.height = 0
    const context = this.#canvas.getContext('2d', { alpha: false })
    if (!context) throw new Error('this browser has no 2D canvas')
    this.#context = context
    this.#input = new TextInput({ text: (text) => events.text(text), key: (name) => keyboard.chord([name]) })
    this.#input.element.setAttribute('aria-describedby', 'keyboard-hint')
    this.element = make('div', 'screen-frame', this.#canvas, this.#input.element)
    this.element.hidden = true
    // Must precede the pointer's own listeners, so that modifiers are right before a button is pressed.
    this.#listen()
    this.#pointer = new Pointer(this.#canvas, scanout, (message) => events.send(message))
  }

  get mode(): ScanoutMode | undefined {
    return this.#mode
  }

  show({ mode, rects }: Extract<SocketFrame, { kind: 'screen' }>, answer: Answer): void {
    if (mode?.width !== this.#mode?.width || mode?.height !== this.#mode?.height) this.#setMode(mode)
    for (const { x, y, width, height, words } of rects) {
      toOpaqueRgba(words)
      const data = new Uint8ClampedArray(words.buffer, words.byteOffset, words.byteLength)
      this.#context.putImageData(new ImageData(data, width, height), x, y)
    }
    // The next frame is requested when this one is shown, so that a hidden tab requests none.
    requestAnimationFrame(() => answer({ type: 'drawn', scanout: this.scanout }))
  }

  showCursor(frame: Extract<SocketFrame, { kind: 'cursor' }>): void {
    const cursor = new CursorImage(frame)
    if (cursor.isHidden && !this.#cursor) return
    this.#cursor = cursor
    this.#styleCursor()
  }

  /** @param scale CSS pixels per pixel of the guest */
  setScale(scale: number): void {
    const { width, height } = this.#canvas
    this.#canvas.style.width = `${width * scale}px`
    this.#canvas.style.height = `${height * scale}px`
    this.#canvas.classList.toggle('pixelated', Number.isInteger(scale * devicePixelRatio))
    this.#scale = scale
    this.#styleCursor()
  }

  focus(): void {
    this.#input.element.focus({ preventScroll: true })
  }

  releaseAll(): void {
    this.keyboard.releaseAll()
    this.#pointer.releaseAll()
  }

  screenshot(): Promise<Blob | null> {
    return new Promise((resolve) => this.#canvas.toBlob(resolve, 'image/png'))
  }

  #styleCursor(): void {
    if (this.#cursor) this.#canvas.style.cursor = this.#cursor.style(this.#scale, devicePixelRatio)
  }

  #setMode(mode: ScanoutMode | undefined): void {
    this.#mode = mode
    this.#canvas.width = mode?.width ?? 0
    this.#canvas.height = mode?.height ?? 0
    this.element.hidden = mode === undefined
    const size = mode ? `${mode.width} by ${mode.height} pixels` : 'off'
    this.#input.element.setAttribute('aria-label', `Screen ${this.scanout + 1} of the guest, ${size}`)
    this.events.mode()
  }

  #listen(): void {
    const { element } = this.#input
    element.addEventListener('keydown', (event) => this.#keyDown(event))
    element.addEventListener('keyup', (event) => {
      event.preventDefault()
      this.keyboard.up(event)
    })
    element.addEventListener('blur', () => this.releaseAll())
    this.#canvas.addEventListener('pointerdown', (event) => {
      this.focus()
      this.keyboard.pressByFlags(event)
    })
    for (const type of ['pointerdown', 'pointermove', 'pointerup', 'wheel'] as const) {
      this.#canvas.addEventListener(type, (event) => this.#compare(event), { passive: true })
    }
    document.addEventListener('visibilitychange', () => this.releaseAll())
    window.addEventListener('blur', () => this.releaseAll())
  }

  #keyDown(event: KeyboardEvent): void {
    if (!this.#input.isPhysical(event) || linuxKeyCode(keyName(event)) === undefined) return
    event.preventDefault()
    if (event.key === 'Escape' && this.events.escape()) return
    if (this.keyboard.down(event) === 'release') this.events.release()
  }

  /** Compares flags, only if this screen has the focus: otherwise keys are meant for another element. */
  #compare(event: PointerEvent | WheelEvent): void {
    if (document.activeElement === this.#input.element) this.keyboard.compare(event)
  }
}
