import type { Frame } from '../console/protocol.ts'
import type { ScanoutMode } from '../machine/machine.ts'
import { byId, setText } from './dom.ts'
import { Screen, type ScreenEvents } from './screen.ts'

/** As many scanouts as the protocol has. */
const GAP = 12
const FOLLOW_DELAY_MS = 300
const SMALLEST = 64
const LARGEST = 8192

/** The screens of the guest and the space they share. */
export class Stage {
  readonly #element = byId('stage', HTMLElement)
  readonly #off = byId('screen-off', HTMLElement)
  readonly #info = byId('screen-info', HTMLElement)
  #screens: Screen[] = []
  #fits = true
  #follows = false
  #followTimer: number | undefined

  constructor(private readonly events: Pick<ScreenEvents, 'send' | 'release'>) {
    new ResizeObserver(() => this.#layout()).observe(this.#element)
  }

  /** The screens as the server has them; what is shown stays until the first frame. */
  setScanouts(count: number): void {
    if (count === this.#screens.length) return
    for (const screen of this.#screens) screen.element.remove()
    this.#screens = Array.from({ length: count }, (_, scanout) => {
      return new Screen(scanout, {
        send: (message) => this.events.send(message),
        release: () => this.events.release(),
        mode: () => this.#layout(),
      })
    })
    this.#element.append(...this.#screens.map(({ element }) => element))
  }

  show(frame: Extract<Frame, { kind: 'screen' | 'cursor' }>): void {
    const screen = this.#screens[frame.scanout]
    if (frame.kind === 'screen') screen?.show(frame)
    else screen?.showCursor(frame)
  }

  /** The first screen that is on. */
  get current(): Screen | undefined {
    return this.#screens.find(({ mode }) => mode)
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
    for (const screen of this.#screens) screen.releaseAll()
  }

  #layout(): void {
    const shown = this.#screens.filter(({ mode }) => mode)
    this.#off.hidden = shown.length > 0
    const area = this.#areaOfEach(shown.length)
    const infos: string[] = []
    for (const screen of shown) {
      const { width, height } = screen.mode ?? area
      const real = 1 / devicePixelRatio
      const scale = this.#fits ? Math.max(real / 16, Math.min(area.width / width, area.height / height)) : real
      screen.setSize(width * scale, height * scale, Number.isInteger(scale * devicePixelRatio))
      infos.push(`${width} × ${height} · ${Math.round(scale * devicePixelRatio * 100)} %`)
    }
    setText(this.#info, infos.join('   ') || 'screen off')
    if (this.#follows) this.#followSoon()
  }

  /** The space for each of so many screens side by side, in CSS pixels. */
  #areaOfEach(count: number): ScanoutMode {
    const { clientWidth, clientHeight } = this.#element
    return { width: (clientWidth - GAP * (count + 1)) / Math.max(1, count), height: clientHeight - GAP * 2 }
  }

  #followSoon(): void {
    clearTimeout(this.#followTimer)
    this.#followTimer = setTimeout(() => {
      const shown = this.#screens.filter(({ mode }) => mode)
      const area = this.#areaOfEach(shown.length)
      const width = deviceSize(area.width)
      const height = deviceSize(area.height)
      for (const [scanout, { mode }] of this.#screens.entries()) {
        if (!mode || (mode.width === width && mode.height === height)) continue
        this.events.send({ type: 'resize', scanout, width, height })
      }
    }, FOLLOW_DELAY_MS)
  }
}

function deviceSize(size: number): number {
  return Math.max(SMALLEST, Math.min(LARGEST, Math.round(size * devicePixelRatio)))
}
