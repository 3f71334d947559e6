/** An export socket that cannot be used, or a buffer that cannot be read. Its message says what is wrong, and what to do. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}
