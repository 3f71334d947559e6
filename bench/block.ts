import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { runProgram } from '../src/guest-image/debian/program.ts'
import type { Bench, Variant } from './bench.ts'
import { OUTBOARD, Place, processorSeconds, type RunningServer, storageDaemon, withServer } from './block-server.ts'
import type { Figures } from './figures.ts'

const MIB = 1 << 20
const SERVERS = [storageDaemon('threads'), storageDaemon('io_uring'), OUTBOARD]

/** What the client does. It has no random numbers: steps of a prime number of blocks reach all of them, in no order. */
interface Workload {
  readonly name: string
  readonly bytes: number
  readonly step: number
  readonly depth: number
  readonly requests: number
  readonly write: boolean
}

const BLOCK = 4096
const SCATTERED = 7919 * BLOCK
const LARGE = 128 << 10

const WORKLOADS: readonly Workload[] = [
  ...[false, true].flatMap((write) =>
    [1, 32, 128].map((depth) => ({
      name: `4 KiB ${write ? 'write' : 'read'}, depth ${depth}`,
      bytes: BLOCK,
      step: SCATTERED,
      depth,
      requests: depth === 1 ? 60_000 : write ? 300_000 : 500_000,
      write,
    })),
  ),
  ...[false, true].map((write) => ({
    name: `128 KiB ${write ? 'write' : 'read'} in order, depth 8`,
    bytes: LARGE,
    step: LARGE,
    depth: 8,
    requests: 60_000,
    write,
  })),
]

async function measure({ child, socket, tools, ready }: RunningServer, workload: Workload): Promise<Figures> {
  const before = processorSeconds(child)
  const output = await runProgram(tools.img, [
    ...['bench', '-c', String(workload.requests), '-d', String(workload.depth), '-s', String(workload.bytes)],
    ...['-S', String(workload.step), ...(workload.write ? ['-w'] : []), '-t', 'none', '--image-opts'],
    `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on`,
  ])
  const seconds = Number(/completed in ([\d.]+) seconds/.exec(output)?.[1])
  return {
    requests: workload.requests / seconds,
    cpu: ((processorSeconds(child) - before) / workload.requests) * 1e6,
    memory: residentBytes(child) / MIB,
    ready,
  }
}

function residentBytes({ pid }: ChildProcess): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

export const blockBench: Bench = {
  name: 'block',
  summary: 'a disk over vhost-user, beside qemu-storage-daemon’s; client: qemu-img bench (libblkio)',
  columns: {
    requests: 'requests a second',
    cpu: 'microseconds of the server’s processor time a request',
    memory: 'MiB of memory the server has (resident), after the work',
    ready: 'milliseconds from its start to the first connection it accepts',
  },
  prepare(random) {
    const place = new Place(WORKLOADS.length * SERVERS.length, random)
    return WORKLOADS.flatMap((workload) =>
      SERVERS.map(
        (server): Variant => ({
          name: server.name,
          group: workload.name,
          measure: () => withServer(place, server, (running) => measure(running, workload)),
          async close() {
            place.leave()
          },
        }),
      ),
    )
  },
}
