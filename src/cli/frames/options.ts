/** What of it is asked for. */
export interface FramesOptions {
  readonly json?: boolean
  readonly output?: string
  readonly scanout?: number
  readonly buffer?: number
  readonly seconds?: number
}
