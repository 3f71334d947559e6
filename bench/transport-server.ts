/**
 * `node transport-server.js TRANSPORT`: serves a device to whoever is at the other end of descriptor 3, until they go.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Descriptor } from '../src/host/linux/descriptor.ts'
import { Mapping } from '../src/host/linux/mapping.ts'
import { MemoryFile } from '../src/host/linux/memory-file.ts'
import { createReactor } from '../src/host/linux/reactor/create-reactor.ts'
import { socketPair, UnixStream } from '../src/host/linux/unix-stream.ts'
import { serveVfioUser } from '../src/transport/vfio-user/vfio-user-server.ts'
import { serveVhostUser } from '../src/transport/vhost-user/vhost-user-server.ts'
import { VirtioPciFunction } from '../src/transport/virtio-pci/virtio-pci-function.ts'
import { EchoDevice } from '../src/virtio/testing/echo-device.ts'

export type Transport = 'vhost-user' | 'vfio-user'

export const QUEUE_SIZE = 256
export const SHARED_BYTES = 1 << 16
const PROGRAM = fileURLToPath(import.meta.url)
const SOCKET = 3

/** Copies what a request says into its answer, and so does nothing but what every device does. */
export function echoDevice(): EchoDevice {
  return new EchoDevice({ queueSizes: [QUEUE_SIZE] })
}

/** The same with memory that the driver may map. */
function sharingDevice(): EchoDevice {
  const { descriptor } = MemoryFile.create('shared memory', SHARED_BYTES)
  const mapping = Mapping.of(descriptor, { offset: 0, length: SHARED_BYTES })
  return new EchoDevice({ queueSizes: [QUEUE_SIZE], sharedMemory: [{ id: 0, memory: mapping.regions(0)[0] }] })
}

/** Nanoseconds of processor time that the first thread of a process had: it is the one that serves. */
export function processorTime(pid: number | undefined): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')[0])
}

/** A device in a process of its own, as long as somebody is at this end of its socket. */
export class ServerProcess {
  readonly stream: UnixStream
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>

  constructor(transport: Transport) {
    const [ours, theirs] = socketPair(`the socket of ${transport}`)
    this.stream = ours
    const stdio = ['ignore', 'inherit', 'inherit', theirs.fd] as const
    this.#child = spawn(process.execPath, [PROGRAM, transport], { stdio: [...stdio] })
    this.#ended = once(this.#child, 'exit')
    theirs.close()
  }

  /** @see processorTime */
  get processorTime(): number {
    return processorTime(this.#child.pid)
  }

  async close(): Promise<void> {
    this.stream.close()
    await this.#ended
  }
}

async function serve(transport: Transport): Promise<void> {
  const reactor = createReactor({ refused: (reason) => console.error(reason) })
  const stream = new UnixStream(new Descriptor(SOCKET, 'the bench'))
  const server =
    transport === 'vhost-user'
      ? serveVhostUser(echoDevice(), stream, reactor, { log })
      : serveVfioUser((bus, memory) => new VirtioPciFunction(sharingDevice(), bus, { memory, log }), stream, reactor, {
          log,
        })
  void server.closed.then(() => reactor.stop())
  await reactor.run()
  reactor.close()
}

/** Who comes and goes is no news here. */
function log(line: string): void {
  if (!/is (here|gone)/.test(line)) console.error(line)
}

if (process.argv[1] === PROGRAM) await serve(process.argv[2] as Transport)
