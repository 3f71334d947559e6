/**
 * Sorts the first `count` page numbers, and calls `run` with each range of consecutive ones. A page that occurs twice is in
 * one range only.
 */
export function forEachRun(pages: Uint32Array, count: number, run: (first: number, length: number) => void): void {
  const sorted = pages.subarray(0, count).sort()
  for (let i = 0; i < count; ) {
    const first = sorted[i]
    let end = first + 1
    for (i++; i < count && sorted[i] <= end; i++) if (sorted[i] === end) end++
    run(first, end - first)
  }
}
