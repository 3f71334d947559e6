import { printableJson, printableText } from '../../log/printable-text.ts'
import type { FrameClient } from '../../sharing/frames/frame-client.ts'
import { bufferFacts, bufferLine, scanoutFacts, scanoutLine } from './format.ts'
import type { FramesOptions } from './options.ts'

/** Prints all screens and buffers, with their paths and reasons. */
export async function listFrames(client: FrameClient, { json }: FramesOptions): Promise<void> {
  await client.ready
  const scanouts = [...client.scanouts.values()].sort((a, b) => a.index - b.index)
  const buffers = [...client.buffers.values()].sort((a, b) => a.id - b.id)
  if (json) {
    const { memoryFiles } = client
    const facts = { memoryFiles, scanouts: scanouts.map(scanoutFacts), buffers: buffers.map(bufferFacts) }
    process.stdout.write(`${printableJson(facts, 2)}\n`)
    return
  }
  const lines: string[] = []
  for (const scanout of scanouts) {
    lines.push(scanoutLine(scanout))
    if (scanout.reason !== '') lines.push(`    ${scanout.reason}`)
  }
  for (const buffer of buffers) {
    lines.push(bufferLine(buffer), `    ${buffer.reason}`)
    if (buffer.withheld !== '') lines.push(`    not given: ${buffer.withheld}`)
  }
  if (lines.length === 0) lines.push('the guest shows nothing, and shares nothing')
  process.stdout.write(`${lines.map(printableText).join('\n')}\n`)
}
