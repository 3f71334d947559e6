/** Properties of a `WheelEvent` that are used. `deltaMode`: 0 for pixels, 1 for lines, 2 for pages. */
export interface WheelDelta {
  readonly deltaX: number
  readonly deltaY: number
  readonly deltaMode: number
}

export interface WheelSteps {
  readonly vertical: number
  readonly horizontal: number
}

/** Units of one notch of a wheel, by mode; touchpads report fractions. */
const UNITS_PER_STEP = [100, 3, 1]
const MAX_STEPS = 100

/** Converts a wheel event to steps; positive: away from the user, to the right. */
export function wheelSteps({ deltaX, deltaY, deltaMode }: WheelDelta): WheelSteps {
  const unit = UNITS_PER_STEP[deltaMode] ?? 1
  return { vertical: clamp(-deltaY / unit), horizontal: clamp(deltaX / unit) }
}

function clamp(steps: number): number {
  return Math.max(-MAX_STEPS, Math.min(MAX_STEPS, steps))
}
