/** Of a `WheelEvent`, what matters here: `deltaMode` 0 counts pixels, 1 lines, 2 pages. */
export interface WheelDelta {
  readonly deltaX: number
  readonly deltaY: number
  readonly deltaMode: number
}

export interface WheelSteps {
  readonly vertical: number
  readonly horizontal: number
}

/** What one notch of a wheel is in each mode; touchpads give fractions of it. */
const UNITS_PER_STEP = [100, 3, 1]
const MAX_STEPS = 100

/** Wheel steps, away from the user and to the right positive. */
export function wheelSteps({ deltaX, deltaY, deltaMode }: WheelDelta): WheelSteps {
  const unit = UNITS_PER_STEP[deltaMode] ?? 1
  return { vertical: clamp(-deltaY / unit), horizontal: clamp(deltaX / unit) }
}

function clamp(steps: number): number {
  return Math.max(-MAX_STEPS, Math.min(MAX_STEPS, steps))
}
