import { GuestMemory } from '../src/memory/guest-memory.ts'
import { MemoryRegion } from '../src/memory/memory-region.ts'
import type { Part } from '../src/virtqueue/driver/index.ts'
import { BarePair } from '../src/virtqueue/testing/bare-pair.ts'
import type { Bench, Variant } from './bench.ts'
import { bytesAllocated, countCollections } from './garbage.ts'

/** Chains made available at once: 16 descriptors each still fit the queue. */
const BATCH = 64
const QUEUE_SIZE = 1024
/** Batches in one round of one variant. */
const BATCHES = 3000
const BATCHES_WEIGHED = 500
const MEMORY_BYTES = 64 << 20
const PAGE = 4096

type Kind = 'direct' | 'indirect'

/** Both sides of one queue, and requests that lie all over the guest's memory, as pages do. */
class Traffic {
  readonly #pair: BarePair
  readonly #kind: Kind
  readonly #requests: { readonly readable: Part[]; readonly writable: Part[] }[]
  #sum = 0
  #interrupts = 0
  /** Milliseconds spent on the device's side. */
  deviceTime = 0

  constructor(packed: boolean, kind: Kind, descriptors: number, random: () => number) {
    const memory = new GuestMemory([MemoryRegion.over(0, new Uint8Array(MEMORY_BYTES))])
    this.#pair = new BarePair({ packed, size: QUEUE_SIZE, eventIdx: true, memory })
    this.#kind = kind
    // The upper half: rings and tables are in the lower one.
    const page = () => MEMORY_BYTES / 2 + Math.floor((random() * MEMORY_BYTES) / 2 / PAGE) * PAGE
    // As a disk's requests: a header to read, pages and a status byte to write. A single descriptor is a page to write.
    this.#requests = Array.from({ length: BATCH }, () => {
      const pages = Array.from({ length: Math.max(descriptors - 2, 1) }, () => ({ address: page(), length: PAGE }))
      if (descriptors === 1) return { readable: [], writable: pages }
      return {
        readable: [{ address: page(), length: 16 }],
        writable: [...pages, { address: page(), length: 1 }],
      }
    })
  }

  run(batches: number): void {
    for (let batch = 0; batch < batches; batch++) {
      this.#offer()
      this.#serve()
      this.#collect()
    }
  }

  /** The same with a clock around the device's side. */
  runTimed(batches: number): void {
    for (let batch = 0; batch < batches; batch++) {
      this.#offer()
      const before = performance.now()
      this.#serve()
      this.deviceTime += performance.now() - before
      this.#collect()
    }
  }

  #offer(): void {
    const { driver } = this.#pair
    for (const request of this.#requests) driver.add(request.readable, request.writable, this.#kind)
    driver.kick()
  }

  #serve(): void {
    const { queue } = this.#pair
    for (let chain = queue.pop(); chain; chain = queue.pop()) {
      this.#sum = (this.#sum + chain.reader.u32()) | 0
      chain.writer.u32(this.#sum)
      queue.push(chain, chain.writer.written)
    }
    queue.publish()
  }

  #collect(): void {
    const { driver, interrupts } = this.#pair
    if (interrupts === this.#interrupts) throw new Error('the device did not interrupt')
    this.#interrupts = interrupts
    let collected = 0
    while (driver.collect()) collected++
    if (collected !== BATCH) throw new Error(`${collected} of ${BATCH} chains came back`)
    driver.enableInterrupts()
  }
}

function variant(packed: boolean, kind: Kind, descriptors: number, random: () => number): Variant {
  const traffic = new Traffic(packed, kind, descriptors, random)
  return {
    name: `${packed ? 'packed' : 'split'} ${kind} ${descriptors}`,
    async measure() {
      traffic.deviceTime = 0
      let time = 0
      const collections = await countCollections(() => {
        const before = performance.now()
        traffic.runTimed(BATCHES)
        time = performance.now() - before
      })
      const bytes = bytesAllocated(() => traffic.run(BATCHES_WEIGHED))
      return {
        device: (BATCHES * BATCH * 1000) / traffic.deviceTime,
        both: (BATCHES * BATCH * 1000) / time,
        collections,
        bytes: bytes / (BATCHES_WEIGHED * BATCH),
      }
    },
  }
}

export const virtqueueBench: Bench = {
  name: 'virtqueue',
  summary: 'chains a second through split and packed rings, direct and indirect, of 1, 3 and 16 descriptors',
  columns: {
    device: 'chains/s, the device alone: pop, read 4 bytes, write 4 bytes, push, publish',
    both: 'chains/s, with the driver on the same core: add, kick, the device, collect',
    collections: 'garbage collections in a round',
    bytes: 'bytes of garbage a chain, both sides',
  },
  prepare(random) {
    const variants: Variant[] = []
    for (const descriptors of [3, 1, 16]) {
      for (const packed of [false, true]) {
        for (const kind of ['direct', 'indirect'] as const) variants.push(variant(packed, kind, descriptors, random))
      }
    }
    return variants
  },
}
