import { printableJson, printableText } from '../../log/printable-text.ts'
import type { Frame } from '../../sharing/frames/frame.ts'
import type { FrameClient } from '../../sharing/frames/frame-client.ts'
import { bufferFacts, bufferLine, scanoutFacts, scanoutLine } from './format.ts'
import type { FramesOptions } from './options.ts'

/** Prints what happens, a line each, until it is interrupted. */
export async function watchFrames(
  client: FrameClient,
  { json }: FramesOptions,
  interrupted: AbortSignal,
): Promise<void> {
  const print = (line: string, facts: object): void => {
    process.stdout.write(`${json ? printableJson(facts) : printableText(line)}\n`)
  }
  client.listen({
    scanout: (scanout) => print(scanoutLine(scanout), { event: 'scanout', ...scanoutFacts(scanout) }),
    buffer: (buffer) => print(bufferLine(buffer), { event: 'buffer', ...bufferFacts(buffer) }),
    described: (buffer) => print(bufferLine(buffer), { event: 'described', ...bufferFacts(buffer) }),
    removed: ({ id }) => print(`buffer ${id}  gone`, { event: 'gone', id }),
  })
  for await (const frame of client.frames()) {
    print(frameLine(frame), { event: 'frame', ...frameFacts(frame) })
    frame.acknowledge()
  }
  if (!interrupted.aborted) throw new Error('the device is gone')
}

function frameFacts({ scanout, buffer, sequence, merged, damage, latency }: Frame) {
  return { scanout: scanout ?? null, buffer: buffer.id, sequence, merged, damage, latency: Math.round(latency / 1000) }
}

function frameLine(frame: Frame): string {
  const { scanout, buffer, sequence, merged, latency } = frameFacts(frame)
  const damage = frame.damage.map(({ x, y, width, height }) => `${width}x${height}+${x}+${y}`).join(' ')
  const where = scanout === null ? `buffer ${buffer}` : `scanout ${scanout}`
  return `${where}  frame ${sequence}${merged > 0 ? `, ${merged} merged` : ''}: ${damage}, ${latency} us`
}
