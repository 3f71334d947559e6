import { type MappedRegion, Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import { SpanList } from '../../../memory/span-list.ts'

const ZEROES_BYTES = 1 << 20

let region: MappedRegion | undefined

/** Returns spans of zeroes, `length` bytes in total. All spans are of one region. */
export function zeroSpans(length: number): SpanList {
  region ??= makeZeroes()
  const spans = new SpanList()
  for (let left = length; left > 0; left -= ZEROES_BYTES) spans.add(region, 0, Math.min(left, ZEROES_BYTES))
  return spans
}

function makeZeroes(): MappedRegion {
  const file = MemoryFile.create('zeroes', ZEROES_BYTES)
  const [zeroes] = Mapping.of(file.descriptor, { offset: 0, length: ZEROES_BYTES }).regions(0)
  return zeroes
}
