/** A network port cannot be opened. The message states which one, why, and how to fix it. */
export class NetworkPortError extends Error {
  override readonly name = 'NetworkPortError'
}
