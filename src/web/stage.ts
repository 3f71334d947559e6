import type { SocketFrame } from '../console/protocol.ts'
import type { ScanoutMode } from '../machine/machine.ts'
import type { Answer } from './connection.ts'
import { byId, setText } from './dom.ts'
import { Keyboard } from './keyboard.ts'
import { Screen, type ScreenEvents } from './screen.ts'

/** Gap around and between the screens, in CSS pixels. */
const GAP = 12
const FOLLOW_DELAY_MS = 300
const MIN_SIZE = 64
const MAX_SIZE = 8192

/** Screens of the guest, and their layout on the page. */
export class Stage {
  /** Keyboard of the guest, shared by all screens. */
  readonly keyboard = new Keyboard((code, pressed) => this.events.send({ type: 'key', code, pressed }))
  readonly #element = byId('stage', HTMLElement)
  readonly #off = byId('screen-off', HTMLElement)
  readonly #info = byId('screen-info', HTMLElement)
  readonly #screens = new Map<number, Screen>()
  #fits = true
  #follows = false
  #followTimer: number | undefined

  constructor(private readonly events: Omit<ScreenEvents, 'mode'>) {
    new ResizeObserver(() => this.#layout()).observe(this.#element)
    this.#watchDensity()
  }

  show(frame: Extract<SocketFrame, { kind: 'screen' | 'cursor' }>, answer: Answer): void {
    const screen = this.#screen(frame.scanout)
    if (frame.kind === 'screen') screen.show(frame, answer)
    else screen.showCursor(frame)
  }

  /** Returns the first screen that is on. */
  get current(): Screen | undefined {
    return this.#shown()[0]
  }

  setFits(fits: boolean): void {
    this.#fits = fits
    this.#element.classList.toggle('real-pixels', !fits)
    this.#layout()
  }

  setFollows(follows: boolean): void {
    this.#follows = follows
    this.#layout()
  }

  releaseAll(): void {
    for (const screen of this.#screens.values()) screen.releaseAll()
  }

  #screen(scanout: number): Screen {
    const known = this.#screens.get(scanout)
    if (known) return known
    const screen = new Screen(scanout, this.keyboard, { ...this.events, mode: () => this.#layout() })
    this.#screens.set(scanout, screen)
    this.#element.append(screen.element)
    return screen
  }

  #shown(): Screen[] {
    return [...this.#screens.values()].filter(({ mode }) => mode)
  }

  #layout(): void {
    const shown = this.#shown()
    this.#off.hidden = shown.length > 0
    const area = this.#areaOfEach(shown.length)
    const infos: string[] = []
    for (const screen of shown) {
      const { width, height } = screen.mode ?? area
      const real = 1 / devicePixelRatio
      const scale = this.#fits ? Math.max(real / 16, Math.min(area.width / width, area.height / height)) : real
      screen.setScale(scale)
      infos.push(`${width} × ${height} · ${Math.round(scale * devicePixelRatio * 100)} %`)
    }
    setText(this.#info, infos.join('   ') || 'screen off')
    if (this.#follows) this.#followSoon()
  }

  /** Repeats the layout when the pixel density changes, by zooming or on another display. */
  #watchDensity(): void {
    const isSame = matchMedia(`(resolution: ${devicePixelRatio}dppx)`)
    isSame.addEventListener(
      'change',
      () => {
        this.#layout()
        this.#watchDensity()
      },
      { once: true },
    )
  }

  /** Returns the size of the area for each of `count` screens side by side, in CSS pixels. */
  #areaOfEach(count: number): ScanoutMode {
    const { clientWidth, clientHeight } = this.#element
    const gap = document.fullscreenElement === this.#element ? 0 : GAP
    return { width: (clientWidth - gap * (count + 1)) / Math.max(1, count), height: clientHeight - gap * 2 }
  }

  #followSoon(): void {
    clearTimeout(this.#followTimer)
    this.#followTimer = setTimeout(() => {
      const shown = this.#shown()
      const area = this.#areaOfEach(shown.length)
      const width = deviceSize(area.width)
      const height = deviceSize(area.height)
      for (const [scanout, { mode }] of this.#screens) {
        if (!mode || (mode.width === width && mode.height === height)) continue
        this.events.send({ type: 'resize', scanout, width, height })
      }
    }, FOLLOW_DELAY_MS)
  }
}

function deviceSize(size: number): number {
  return Math.max(MIN_SIZE, Math.min(MAX_SIZE, Math.round(size * devicePixelRatio)))
}
