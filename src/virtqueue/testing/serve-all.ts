import type { DeviceQueue } from '../device-queue.ts'

/** Gives back whatever is available, as if `written` bytes had been written. @returns how many chains there were */
export function serveAll(queue: DeviceQueue, written: number): number {
  let served = 0
  for (let chain = queue.pop(); chain; chain = queue.pop()) {
    queue.push(chain, written)
    served++
  }
  queue.publish()
  return served
}
