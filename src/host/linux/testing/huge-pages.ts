import { readFileSync } from 'node:fs'

/** The system's huge pages of 2 MiB. */
export const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB'

/** How many of them are free, or NaN where there are never any. */
export function freeHugePages(): number {
  const [free, promised] = ['free_hugepages', 'resv_hugepages'].map((name) => {
    try {
      return Number(readFileSync(`${POOL}/${name}`, 'latin1'))
    } catch {
      return Number.NaN
    }
  })
  return free - promised
}
