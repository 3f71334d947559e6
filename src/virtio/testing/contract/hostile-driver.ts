import type { Layout } from '../../../virtqueue/driver/queue-driver.ts'
import type { VirtioDevice } from '../../device.ts'
import type { Random } from './random.ts'
import type { TestGuest } from './test-guest.ts'

const LAYOUTS: readonly Layout[] = ['direct', 'indirect', 'mixed']
const WIDTHS = [1, 2, 4]

/** Performs a random step of a driver that follows no rule. */
export function disturb<D extends VirtioDevice, H>(guest: TestGuest<D, H>, random: Random): void {
  const { state } = guest
  const queue = random.below(state.queues.length)
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2:
      sendGarbage(guest, queue, random)
      break
    case 3:
      guest.forge(queue, [randomPart(random)], [randomPart(random)], random.pick(LAYOUTS))
      break
    case 4:
      state.writeConfig(random.below(300), random.pick(WIDTHS), random.next())
      state.readConfig(random.below(300), random.pick(WIDTHS))
      break
    case 5:
      state.notify(random.below(state.queues.length + 2))
      break
    case 6:
      scribble(guest, random)
      break
    case 7:
      resetQueue(guest, queue, random)
      break
    default:
      guest.wait(state.suspend())
      guest.resume()
  }
}

/** Sends random bytes, of which the first ones are often small numbers, such as those of commands. */
function sendGarbage<D extends VirtioDevice, H>(guest: TestGuest<D, H>, queue: number, random: Random): void {
  const readable = Array.from({ length: random.below(4) }, () => {
    const bytes = random.bytes(random.below(80))
    if (random.oneIn(2)) for (let i = 0; i < bytes.length; i++) if (i % 4 !== 0 || random.oneIn(2)) bytes[i] = 0
    return bytes
  })
  const writable = Array.from({ length: random.below(4) }, () => random.below(random.oneIn(8) ? 5000 : 100))
  guest.request(queue, readable, writable, { layout: random.pick(LAYOUTS), waits: true })
}

function randomPart(random: Random): { readonly address: number; readonly length: number } {
  return { address: random.next() * (random.oneIn(4) ? 2 ** 20 : 1), length: random.next() >>> random.below(32) }
}

/** Overwrites a few bytes of rings and requests. */
function scribble<D extends VirtioDevice, H>(guest: TestGuest<D, H>, random: Random): void {
  const from = random.below(1 << 15)
  guest.poke(from, random.bytes(random.below(64)))
}

function resetQueue<D extends VirtioDevice, H>(guest: TestGuest<D, H>, queue: number, random: Random): void {
  const { state } = guest
  state.resetQueue(queue)
  if (random.oneIn(2)) guest.finish()
  if (random.oneIn(2) && state.configurableQueue(queue)) guest.setUpQueue(queue)
}
