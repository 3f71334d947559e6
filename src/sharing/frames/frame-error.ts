/**
 * An export socket cannot be used, or a buffer cannot be read. The message has the reason and, if possible, a remedy.
 */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}
