import { planeRowBytes, planeRows, planesOf } from '../../devices/virtio/gpu/pixels/image-planes.ts'
import type { Frame } from '../../sharing/frames/frame.ts'
import type { FrameClient } from '../../sharing/frames/frame-client.ts'
import type { FramesOptions } from './options.ts'

/** What came in a while. */
interface Measurement {
  readonly seconds: number
  readonly frames: number
  readonly framesPerSecond: number
  /** By how they are had. */
  readonly paths: Readonly<Record<string, number>>
  readonly damageBytes: number
  /** Changes that became part of the frame after them. */
  readonly merged: number
  /** From the guest's flush until here, in microseconds; null where nothing was flushed meanwhile. */
  readonly latency: { readonly median: number; readonly p99: number } | null
}

/** Counts frames for a while, and tells how long they took to come. */
export async function measureFrames(
  client: FrameClient,
  { json, seconds = 5 }: FramesOptions,
  interrupted: AbortSignal,
): Promise<void> {
  await client.ready
  const measurement = await measure(client, seconds)
  const short = measurement.seconds < seconds && !interrupted.aborted
  if (short) throw new Error(`the device is gone after ${measurement.seconds} s`)
  process.stdout.write(json ? `${JSON.stringify(measurement, undefined, 2)}\n` : describe(measurement))
}

async function measure(client: FrameClient, seconds: number): Promise<Measurement> {
  const latencies: number[] = []
  const paths: Record<string, number> = {}
  let frames = 0
  let damageBytes = 0
  let merged = 0
  const start = performance.now()
  const timer = setTimeout(() => client.close(), seconds * 1000)
  try {
    for await (const frame of client.frames()) {
      frames++
      // The initial state comes first, however old it is.
      if (frame.latency < (performance.now() - start) * 1e6) latencies.push(frame.latency)
      const path = pathOf(client, frame)
      paths[path] = (paths[path] ?? 0) + 1
      damageBytes += bytesOf(frame)
      merged += frame.merged
      frame.acknowledge()
    }
  } finally {
    clearTimeout(timer)
  }
  const elapsed = (performance.now() - start) / 1000
  latencies.sort((a, b) => a - b)
  return {
    seconds: round(elapsed),
    frames,
    framesPerSecond: round(frames / elapsed),
    paths,
    damageBytes,
    merged,
    latency:
      latencies.length === 0 ? null : { median: microseconds(latencies, 0.5), p99: microseconds(latencies, 0.99) },
  }
}

function pathOf(client: FrameClient, { scanout, buffer }: Frame): string {
  return (scanout === undefined ? undefined : client.scanouts.get(scanout)?.path) ?? buffer.kind
}

/** Of all planes, as far as the format is known. */
function bytesOf({ damage, picture }: Frame): number {
  const planes = planesOf(picture.fourcc) ?? []
  let bytes = 0
  for (const { width, height } of damage) {
    for (const plane of planes) bytes += planeRowBytes(plane, width) * planeRows(plane, height)
  }
  return bytes
}

/** @param sorted nanoseconds, at least one */
function microseconds(sorted: readonly number[], part: number): number {
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] / 1000)
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function describe({ seconds, frames, framesPerSecond, paths, damageBytes, merged, latency }: Measurement): string {
  const ways = Object.entries(paths).map(([path, count]) => `${count} ${path}`)
  const lines = [
    `${frames} frames in ${seconds} s: ${framesPerSecond} a second${ways.length > 0 ? ` (${ways.join(', ')})` : ''}`,
    `${damageBytes} bytes changed`,
    `${merged} changes merged into the frame after them`,
  ]
  if (latency) lines.push(`from flush to here: median ${latency.median} us, 99% within ${latency.p99} us`)
  return `${lines.join('\n')}\n`
}
