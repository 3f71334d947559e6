import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QueueRig } from './index.ts'

function echo(rig: QueueRig): () => void {
  return () => {
    for (let chain = rig.queue.pop(); chain; chain = rig.queue.pop()) {
      rig.queue.push(chain, chain.reader.copyTo(chain.writer))
    }
    rig.queue.publish()
  }
}

for (const packed of [false, true]) {
  for (const eventIdx of [false, true]) {
    for (const inOrder of [false, true]) {
      for (const layout of ['direct', 'indirect', 'mixed'] as const) {
        test(`requests are answered over many rounds (packed ${packed}, event index ${eventIdx}, in order ${inOrder}, ${layout})`, () => {
          const rig = new QueueRig({ size: 8, packed, eventIdx, inOrder })
          for (let i = 0; i < 1000; i++) {
            const parts = 1 + (i % 3)
            const readable = Array.from({ length: parts }, (_, p) => [i & 0xff, p])
            const reply = rig.send(echo(rig), readable, [1, 2, 30], layout)
            assert.equal(reply.written, parts * 2)
            assert.deepEqual([...reply.bytes], readable.flat())
          }
          assert.equal(rig.queue.counters.popped, 1000)
          assert.equal(rig.driver.free, 8)
        })
      }
    }
  }
}
