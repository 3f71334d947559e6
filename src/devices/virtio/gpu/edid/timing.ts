/** Monitor timing: active and blank pixels and lines, and the pixel clock. */
export interface Timing {
  /** In units of 10 kHz, as in EDID and DisplayID. */
  readonly pixelClock: number
  readonly horizontal: TimingAxis
  readonly vertical: TimingAxis
}

//   | active ............ | front porch | sync | back porch |
//                         | <---------- blank -----------> |
export interface TimingAxis {
  readonly active: number
  readonly blank: number
  readonly front: number
  readonly sync: number
  readonly positiveSync: boolean
}

const REFRESH_HZ = 60
/** Pixel clocks are multiples of 0.25 MHz. */
const CLOCK_STEP_HZ = 250_000
const CLOCK_UNIT_HZ = 10_000
/** Lowest pixel clock: guests treat slower ones as errors. Small modes get more blank lines instead. */
const MIN_CLOCK_HZ = 10_000_000
/** Shortest vertical blank. */
const MIN_BLANK_SECONDS = 460e-6
const VERTICAL_FRONT = 3
const MIN_VERTICAL_BACK = 6
const HORIZONTAL = { blank: 160, front: 48, sync: 32 }

/** Lines of vertical sync, which encode the aspect ratio; 10 for any other ratio. */
const VERTICAL_SYNC: readonly (readonly [width: number, height: number, lines: number])[] = [
  [4, 3, 4],
  [16, 9, 5],
  [16, 10, 6],
  [5, 4, 7],
  [15, 9, 7],
]

/**
 * Returns the timing of a mode at 60 Hz: VESA coordinated video timing with reduced blanking, but for any width. VESA
 * CVT 1.2, section 3.4
 */
export function reducedBlankingTiming(width: number, height: number): Timing {
  const [, , sync] = VERTICAL_SYNC.find(([w, h]) => width * h === height * w) ?? [0, 0, 10]
  const lineSeconds = (1 / REFRESH_HZ - MIN_BLANK_SECONDS) / height
  const line = width + HORIZONTAL.blank
  const blank = Math.max(
    Math.floor(MIN_BLANK_SECONDS / lineSeconds) + 1,
    VERTICAL_FRONT + sync + MIN_VERTICAL_BACK,
    Math.ceil(MIN_CLOCK_HZ / REFRESH_HZ / line) - height,
  )
  const clock = Math.floor((line * (height + blank) * REFRESH_HZ) / CLOCK_STEP_HZ) * CLOCK_STEP_HZ
  return {
    pixelClock: clock / CLOCK_UNIT_HZ,
    horizontal: { active: width, ...HORIZONTAL, positiveSync: true },
    vertical: { active: height, blank, front: VERTICAL_FRONT, sync, positiveSync: false },
  }
}
