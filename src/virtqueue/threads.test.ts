import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { GuestMemory } from '../memory/guest-memory.ts'
import { MemoryRegion } from '../memory/memory-region.ts'
import { BarePair } from './testing/bare-pair.ts'

/** Data for the worker thread that runs the driver. */
interface Setup {
  readonly packed: boolean
  readonly eventIdx: boolean
  readonly size: number
  readonly memory: SharedArrayBuffer
  readonly bells: SharedArrayBuffer
}

const REQUESTS = 30_000
/** Milliseconds after which a wake-up counts as lost; scheduling delays are far shorter. */
const TIMEOUT_MS = 60_000
const KEY = 0x5a5a5a5a

const DEVICE = 0
const DRIVER = 1

/** Increments a bell and wakes its waiter, like an eventfd or an interrupt. */
function ring(bells: Int32Array, bell: number): void {
  Atomics.add(bells, bell, 1)
  Atomics.notify(bells, bell)
}

/** Sleeps until the count of the bell differs from `seen`. */
function sleep(bells: Int32Array, bell: number, seen: number): void {
  if (Atomics.wait(bells, bell, seen, TIMEOUT_MS) === 'timed-out') throw new Error('a wake-up was lost')
}

function sharedMemory(setup: Setup): GuestMemory {
  return new GuestMemory([MemoryRegion.over(0, new Uint8Array(setup.memory))])
}

/** Driver: keeps the ring full in batches of varying length, and sleeps if there is nothing to collect. */
function runDriver(setup: Setup): void {
  const bells = new Int32Array(setup.bells)
  const pair = new BarePair({ ...setup, memory: sharedMemory(setup) })
  const { driver } = pair
  ring(bells, DEVICE)
  const spare = Array.from({ length: setup.size }, () => ({ input: pair.part(4), output: pair.part(4) }))
  const sent = new Map<number, { slot: (typeof spare)[number]; value: number }>()
  const words = pair.allocator.region.u32
  for (let added = 0, done = 0; done < REQUESTS; ) {
    const batch = 1 + ((added * 7) % (setup.size + 3))
    for (let i = 0; i < batch && added < REQUESTS && driver.free >= 2; i++) {
      const slot = spare.pop() ?? assert.fail()
      words[slot.input.address / 4] = added
      words[slot.output.address / 4] = 0
      sent.set(driver.add([slot.input], [slot.output]), { slot, value: added++ })
    }
    if (driver.kick()) ring(bells, DEVICE)
    const seen = Atomics.load(bells, DRIVER)
    driver.disableInterrupts()
    let collected = 0
    for (; driver.collect(); collected++) {
      const { slot, value } = sent.get(driver.token) ?? assert.fail(`request ${driver.token} was not in flight`)
      sent.delete(driver.token)
      assert.equal(driver.written, 4)
      assert.equal(words[slot.output.address / 4], (value ^ KEY) >>> 0)
      spare.push(slot)
    }
    done += collected
    if (collected === 0 && driver.enableInterrupts()) sleep(bells, DRIVER, seen)
  }
}

/** Device: serves all available chains and sleeps if there are none. */
function runDevice({ queue, breaks }: BarePair, bells: Int32Array): void {
  for (let seen = 0; queue.counters.pushed < REQUESTS; ) {
    sleep(bells, DEVICE, seen)
    seen = Atomics.load(bells, DEVICE)
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      chain.writer.u32((chain.reader.u32() ^ KEY) >>> 0)
      queue.push(chain, 4)
      if (queue.counters.pushed % 3 === 0) queue.publish()
    }
    queue.publish()
  }
  assert.deepEqual(breaks, [])
}

if (isMainThread) {
  for (const packed of [false, true]) {
    for (const eventIdx of [false, true]) {
      const name = `${packed ? 'packed' : 'split'}${eventIdx ? ', event index' : ''}`
      test(`a driver in another thread loses no requests, bytes or wake-ups (${name})  @virtio ${packed ? '2.8.21' : '2.7.13'}`, async () => {
        const setup: Setup = {
          packed,
          eventIdx,
          size: packed ? 12 : 16,
          memory: new SharedArrayBuffer(1 << 20),
          bells: new SharedArrayBuffer(8),
        }
        const bells = new Int32Array(setup.bells)
        // The driver of this pair is unused: the driver in the other thread allocates the rings at the same addresses.
        const pair = new BarePair({ ...setup, memory: sharedMemory(setup), interrupt: () => ring(bells, DRIVER) })
        const worker = new Worker(fileURLToPath(import.meta.url), { workerData: setup })
        const ended = once(worker, 'exit')
        runDevice(pair, bells)
        assert.deepEqual(await ended, [0])
      })
    }
  }
} else {
  runDriver(workerData)
}
