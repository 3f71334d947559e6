import type { PageMessage } from '../console/protocol.ts'
import { wheelSteps } from './wheel.ts'

/** Linux codes of the buttons, with their bits in `PointerEvent.buttons`. */
const BUTTONS = [
  { bit: 1, code: 0x110 },
  { bit: 2, code: 0x111 },
  { bit: 4, code: 0x112 },
  { bit: 8, code: 0x113 },
  { bit: 16, code: 0x114 },
] as const

/**
 * Pointer over one canvas. Sends at most one position and one wheel message per frame; buttons are sent at once, in
 * order.
 */
export class Pointer {
  #position: { x: number; y: number } | undefined
  #vertical = 0
  #horizontal = 0
  #buttons = 0
  #isScheduled = false

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly scanout: number,
    private readonly send: (message: PageMessage) => void,
  ) {
    canvas.addEventListener('pointermove', (event) => this.#moved(event))
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId)
      this.#moved(event)
    })
    canvas.addEventListener('pointerup', (event) => this.#moved(event))
    canvas.addEventListener('lostpointercapture', () => this.releaseAll())
    canvas.addEventListener('contextmenu', (event) => event.preventDefault())
    // By default, side buttons leave the page, and the middle button scrolls or pastes.
    for (const type of ['mousedown', 'mouseup', 'auxclick'] as const) {
      canvas.addEventListener(type, (event) => event.preventDefault())
    }
    canvas.addEventListener('wheel', (event) => this.#wheeled(event), { passive: false })
  }

  releaseAll(): void {
    this.#setButtons(0)
  }

  #moved(event: PointerEvent): void {
    const { left, top, width, height } = this.canvas.getBoundingClientRect()
    this.#position = { x: fraction(event.clientX - left, width), y: fraction(event.clientY - top, height) }
    if (event.buttons === this.#buttons) this.#schedule()
    else this.#setButtons(event.buttons)
  }

  #setButtons(buttons: number): void {
    const changed = buttons ^ this.#buttons
    if (changed === 0) return
    this.#flush()
    this.#buttons = buttons
    for (const { bit, code } of BUTTONS) {
      if (changed & bit) this.send({ type: 'button', code, pressed: (buttons & bit) !== 0 })
    }
  }

  #wheeled(event: WheelEvent): void {
    event.preventDefault()
    const { vertical, horizontal } = wheelSteps(event)
    this.#vertical += vertical
    this.#horizontal += horizontal
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    requestAnimationFrame(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#position) this.send({ type: 'pointer', scanout: this.scanout, ...this.#position })
    this.#position = undefined
    if (this.#vertical !== 0 || this.#horizontal !== 0) {
      this.send({ type: 'wheel', vertical: this.#vertical, horizontal: this.#horizontal })
    }
    this.#vertical = 0
    this.#horizontal = 0
  }
}

function fraction(part: number, whole: number): number {
  return whole > 0 ? Math.max(0, Math.min(1, part / whole)) : 0
}
