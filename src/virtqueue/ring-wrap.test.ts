import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BarePair } from './testing/bare-pair.ts'

/** Pops all available chains, then pushes them in reverse order. */
function serveBackwards({ queue }: BarePair): number {
  const held = []
  for (let chain = queue.pop(); chain; chain = queue.pop()) {
    chain.writer.u8(chain.reader.u8() + 1)
    held.push(chain)
  }
  for (const chain of held.reverse()) queue.push(chain, chain.writer.written)
  queue.publish()
  return held.length
}

/** Fills the ring with chains of one and two descriptors, serves and collects them, until `total` are done. */
function goRound(pair: BarePair, total: number): void {
  const { driver } = pair
  const input = pair.part(1)
  const output = pair.part(1)
  for (let done = 0; done < total; ) {
    pair.bytes(input)[0] = done
    let added = 0
    while (driver.add(added % 3 === 2 && driver.free > 1 ? [input] : [], [output]) >= 0) added++
    driver.kick()
    assert.equal(serveBackwards(pair), added)
    let collected = 0
    for (; driver.collect(); collected++) assert.equal(driver.written, 1)
    assert.equal(collected, added)
    assert.equal(driver.free, driver.size)
    done += added
  }
}

const cases: readonly [packed: boolean, size: number][] = [
  ...[1, 2, 256, 32768].map((size): [boolean, number] => [false, size]),
  ...[1, 2, 3, 257, 32767, 32768].map((size): [boolean, number] => [true, size]),
]
for (const [packed, size] of cases) {
  test(`a full ${packed ? 'packed' : 'split'} ring of ${size} continues past every wrap  @virtio ${packed ? '2.8.1' : '2.7.6 2.7.8'}`, () => {
    for (const eventIdx of [false, true]) {
      const pair = new BarePair({ size, packed, eventIdx })
      goRound(pair, 140_000)
      assert.deepEqual(pair.breaks, [])
    }
  })
}
