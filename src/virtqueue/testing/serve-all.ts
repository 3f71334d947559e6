import type { DeviceQueue } from '../device-queue.ts'

/** Pushes all available chains with length `written`. @returns the number of chains */
export function serveAll(queue: DeviceQueue, written: number): number {
  let served = 0
  for (let chain = queue.pop(); chain; chain = queue.pop()) {
    queue.push(chain, written)
    served++
  }
  queue.publish()
  return served
}
