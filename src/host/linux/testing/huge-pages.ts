import { readFileSync } from 'node:fs'

/** Folder of the system's huge pages of 2 MiB. */
export const POOL = '/sys/kernel/mm/hugepages/hugepages-2048kB'

/** Number of huge pages that are neither in use nor reserved; NaN if the system has no such pool. */
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
