import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memfd, PAGE, pagesOf } from '../../../src/backends/buffers/testing/test-memory.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import { UdmabufProblem } from '../../../src/host/linux/udmabuf/udmabuf-error.ts'
import { creating, creatingList, withLimit } from './kernel.ts'

const udmabuf = Udmabuf.open()
/** Four bytes per pixel. */
const PAGES_OF_4K = (3840 * 2160 * 4) / PAGE
const PAGES_OF_8K = (7680 * 4320 * 4) / PAGE

/** Calls `use` with the memory of a surface in pieces of `piece` pages, not adjacent in their file. */
async function withSurface(
  pages: number,
  piece: number,
  use: (pieces: readonly ReturnType<typeof pagesOf>[]) => void | Promise<void>,
): Promise<void> {
  const count = Math.ceil(pages / piece)
  const file = memfd(count * (piece + 1) * PAGE)
  const pieces = Array.from({ length: count }, (_, i) =>
    pagesOf(file, i * (piece + 1), Math.min(piece, pages - i * piece)),
  )
  try {
    await use(pieces)
  } finally {
    file.close()
  }
}

test('the limits are the defaults of the driver', () => {
  assert.deepEqual(udmabuf.limits, { pieces: 1024, bytes: 64 << 20 })
})

test('a 4K surface in up to 1024 pieces is a buffer', async () => {
  for (const [piece, pieces] of [
    [PAGES_OF_4K, 1],
    [8, 1013],
  ]) {
    await withSurface(PAGES_OF_4K, piece, (list) => {
      assert.equal(list.length, pieces)
      const buffer = udmabuf.create(list, 'a 4K surface')
      assert.equal(buffer.size, 33_177_600)
      buffer.close()
    })
  }
})

test('a 4K surface of 8,100 single pages needs a higher limit of pieces', async () => {
  await withSurface(PAGES_OF_4K, 1, async (list) => {
    assert.throws(() => udmabuf.create(list, 'a 4K surface'), {
      problem: UdmabufProblem.TOO_MANY_PIECES,
      message:
        /^a 4K surface is in 8100 pieces, and the driver takes 1024: write 8100 to .*list_limit, or have the guest/,
    })
    assert.equal(creatingList(list), 'EINVAL')
    await withLimit('list_limit', 8100, () => {
      const buffer = udmabuf.create(list, 'a 4K surface')
      assert.equal(buffer.size, 33_177_600)
      assert.equal(buffer.bytes[33_177_599], 0)
      buffer.close()
    })
  })
})

test('an 8K surface needs a higher limit of size', async () => {
  await withSurface(PAGES_OF_8K, PAGES_OF_8K, async (list) => {
    assert.throws(() => udmabuf.create(list, 'an 8K surface'), {
      problem: UdmabufProblem.TOO_LARGE,
      message: /^an 8K surface has 132710400 bytes, and the driver takes 67108864: write 127 to .*size_limit_mb$/,
    })
    assert.equal(creating(list[0]), 'EINVAL')
    await withLimit('size_limit_mb', 127, () => {
      const buffer = udmabuf.create(list, 'an 8K surface')
      assert.equal(buffer.size, 132_710_400)
      buffer.close()
    })
  })
})

test('an 8K surface of 32,400 single pages needs both limits to be higher', async () => {
  await withSurface(PAGES_OF_8K, 1, async (list) => {
    await withLimit('size_limit_mb', 127, async () => {
      assert.throws(() => udmabuf.create(list, 'an 8K surface'), { problem: UdmabufProblem.TOO_MANY_PIECES })
      await withLimit('list_limit', 32_400, () => {
        const buffer = udmabuf.create(list, 'an 8K surface')
        assert.equal(buffer.size, 132_710_400)
        buffer.close()
      })
    })
  })
  assert.deepEqual(udmabuf.limits, { pieces: 1024, bytes: 64 << 20 })
})
