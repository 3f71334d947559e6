/** A port that cannot be: what was wanted, why not, and what to do. */
export class NetworkPortError extends Error {
  override readonly name = 'NetworkPortError'
}
