import { GuestMemory } from '../src/memory/guest-memory.ts'
import { FrontEndMessage } from '../src/transport/vhost-user/messages.ts'
import { MessageFlag, ProtocolFeature } from '../src/transport/vhost-user/protocol.ts'
import { encodeMessage } from '../src/transport/vhost-user/request-stream.ts'
import { FrontEnd } from '../src/transport/vhost-user/testing/front-end.ts'
import { VirtioPciFunction } from '../src/transport/virtio-pci/virtio-pci-function.ts'
import { featureSet } from '../src/virtio/feature.ts'
import type { Bench, Variant } from './bench.ts'
import type { Figures } from './figures.ts'
import { type FarQueue, QueueLoad, queueInProcess, queueOverVfioUser, queueOverVhostUser } from './transport-queue.ts'
import { echoDevice, processorTime, ServerProcess, SHARED_BYTES } from './transport-server.ts'
import { exchange, VfioUserGuest } from './transport-vfio-user.ts'

/** How long a measurement takes. */
const MEASURE_MS = 250
/** Requests or accesses between two looks at the clock; more where they are fast. */
const FIRST_STEP = 64
const DEPTHS = [1, 64]

/** Device configuration, in BAR 0; shared memory is a BAR of its own. */
const REGISTERS = 0
const DEVICE_CFG = 0x2000
const SHARED = 2
const WIDTH = 4

/** Something that can be done again and again. */
interface Work {
  /** @param count how often; multiples of `FIRST_STEP` */
  run(count: number): void
  /** Nanoseconds of processor time on the device's side. */
  processorTime(): number
  close(): Promise<void>
}

/** @param start makes ready for work that is kept from round to round */
function variant(group: string, name: string, start: () => Promise<Work>): Variant {
  let work: Work | undefined
  return {
    group,
    name,
    async measure() {
      work ??= await start()
      return measure(work)
    },
    async close() {
      await work?.close()
    },
  }
}

function measure(work: Work): Figures {
  const began = performance.now()
  const before = work.processorTime()
  let elapsed = 0
  let count = 0
  for (let step = FIRST_STEP; elapsed < MEASURE_MS; elapsed = performance.now() - began) {
    work.run(step)
    count += step
    if (elapsed < MEASURE_MS / 10) step *= 2
  }
  return { requests: (count / elapsed) * 1000, cpu: (work.processorTime() - before) / 1000 / count }
}

async function queueWork(start: () => Promise<FarQueue>, depth: number): Promise<Work> {
  const queue = await start()
  const load = new QueueLoad(queue)
  return {
    run: (count) => load.run(count, depth),
    processorTime: () => queue.processorTime(),
    close: () => queue.close(),
  }
}

/** An access that the server answers. */
function served(server: ServerProcess, access: () => void, close: () => void): Work {
  return {
    run(count) {
      for (let i = 0; i < count; i++) access()
    },
    processorTime: () => server.processorTime,
    async close() {
      close()
      await server.close()
    },
  }
}

async function accessInProcess(write: boolean): Promise<Work> {
  const bus = { setInterruptLine() {} }
  const pci = new VirtioPciFunction(echoDevice(), bus, { memory: new GuestMemory([]), log: console.error })
  const registers = pci.bars[REGISTERS]?.device
  if (!registers) throw new Error('the function has no registers')
  let sum = 0
  return {
    run(count) {
      for (let i = 0; i < count; i++) {
        if (write) registers.write(DEVICE_CFG, WIDTH, i)
        else sum = (sum + registers.read(DEVICE_CFG, WIDTH)) | 0
      }
    },
    processorTime: () => processorTime(process.pid),
    async close() {
      if (!Number.isInteger(sum)) throw new Error('registers are numbers')
    },
  }
}

/** A device has no BARs there: its configuration is asked for by a message of its own. */
async function accessOverVhostUser(write: boolean): Promise<Work> {
  const server = new ServerProcess('vhost-user')
  const frontEnd = new FrontEnd(server.stream, () => {})
  frontEnd.send('SET_OWNER', undefined)
  frontEnd.send('SET_PROTOCOL_FEATURES', featureSet(ProtocolFeature.CONFIG, ProtocolFeature.REPLY_ACK))
  const config = { offset: 0, size: WIDTH, flags: 0, bytes: new Uint8Array(WIDTH) }
  const { id, request } = FrontEndMessage[write ? 'SET_CONFIG' : 'GET_CONFIG']
  const message = encodeMessage(id, write ? MessageFlag.NEED_REPLY : 0, request.write(config))
  return served(server, exchange(server.stream, message), () => frontEnd.close())
}

async function accessOverVfioUser(write: boolean): Promise<Work> {
  const server = new ServerProcess('vfio-user')
  const guest = new VfioUserGuest(server.stream)
  const access = write ? guest.writer(REGISTERS, DEVICE_CFG, WIDTH) : guest.reader(REGISTERS, DEVICE_CFG, WIDTH)
  return served(server, access, () => guest.close())
}

async function trappedRead(): Promise<Work> {
  const server = new ServerProcess('vfio-user')
  const guest = new VfioUserGuest(server.stream)
  return served(server, guest.reader(SHARED, 0, WIDTH), () => guest.close())
}

async function mappedRead(): Promise<Work> {
  const server = new ServerProcess('vfio-user')
  const guest = new VfioUserGuest(server.stream)
  const mapping = guest.map(SHARED)
  const words = new Uint32Array(mapping.bytes.buffer, mapping.bytes.byteOffset, SHARED_BYTES / 4)
  let sum = 0
  return {
    run(count) {
      for (let i = 0; i < count; i++) sum = (sum + Atomics.load(words, i % words.length)) | 0
    },
    processorTime: () => server.processorTime,
    async close() {
      if (sum !== 0) throw new Error('nobody wrote there')
      guest.close()
      mapping.close()
      await server.close()
    },
  }
}

export const transportBench: Bench = {
  name: 'transport',
  summary: 'a device that does nothing, and its registers: in process, over vhost-user and over vfio-user',
  columns: {
    requests: 'requests or accesses a second',
    cpu: 'microseconds of processor time each, on the device’s side: of its process, where it has one',
  },
  prepare: () => [
    ...DEPTHS.flatMap((depth) => {
      const group = `requests, ${depth} at once`
      return [
        variant(group, 'vhost-user', () => queueWork(queueOverVhostUser, depth)),
        variant(group, 'in process', () => queueWork(queueInProcess, depth)),
        variant(group, 'vfio-user', () => queueWork(queueOverVfioUser, depth)),
      ]
    }),
    ...[false, true].flatMap((write) => {
      const group = `configuration ${write ? 'write' : 'read'}`
      return [
        variant(group, 'vhost-user', () => accessOverVhostUser(write)),
        variant(group, 'in process', () => accessInProcess(write)),
        variant(group, 'vfio-user', () => accessOverVfioUser(write)),
      ]
    }),
    variant('BAR read', 'trapped', trappedRead),
    variant('BAR read', 'mapped', mappedRead),
  ],
}
