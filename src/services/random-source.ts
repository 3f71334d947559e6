/** Where random bytes come from. */
export interface RandomSource {
  /** Fills all of `bytes`, which may lie in guest memory: it keeps no hold of them. */
  fill(bytes: Uint8Array): void
}

/** Bytes made at once; `getRandomValues` gives at most 65536. */
const $piece = new Uint8Array(4096)

/**
 * The host's cryptographic random number generator, in a browser as in Node.
 *
 * Bytes go through a buffer of its own: `getRandomValues` refuses memory that is shared or can grow, as an engine's may
 * be.
 */
export const cryptoRandomSource: RandomSource = {
  fill(bytes) {
    for (let at = 0; at < bytes.length; at += $piece.length) {
      const left = bytes.length - at
      bytes.set(globalThis.crypto.getRandomValues(left < $piece.length ? $piece.subarray(0, left) : $piece), at)
    }
    // What a guest keeps secret does not stay here.
    $piece.fill(0)
  },
}
