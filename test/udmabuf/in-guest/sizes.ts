import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memfd, PAGE, pagesOf } from '../../../src/backends/buffers/testing/test-memory.ts'
import { Udmabuf } from '../../../src/host/linux/udmabuf/udmabuf.ts'
import { UdmabufProblem } from '../../../src/host/linux/udmabuf/udmabuf-error.ts'
import { creating, creatingList, withLimit } from './kernel.ts'

const udmabuf = Udmabuf.open()
/** Four bytes a pixel. */
const PAGES_OF_4K = (3840 * 2160 * 4) / PAGE
const PAGES_OF_8K = (7680 * 4320 * 4) / PAGE

/** A picture in pieces of so many pages, with a page between each and the next; closed after use. */
async function withPicture(
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

test('the limits are those that the driver comes with', () => {
  assert.deepEqual(udmabuf.limits, { pieces: 1024, bytes: 64 << 20 })
})

test('a 4K picture in one piece, or in no more than 1024, is a buffer', async () => {
  for (const [piece, pieces] of [
    [PAGES_OF_4K, 1],
    [8, 1013],
  ]) {
    await withPicture(PAGES_OF_4K, piece, (list) => {
      assert.equal(list.length, pieces)
      const buffer = udmabuf.create(list, 'a 4K picture')
      assert.equal(buffer.size, 33_177_600)
      buffer.close()
    })
  }
})

test('a 4K picture of 8,100 single pages is none, unless the driver is told to take as many', async () => {
  await withPicture(PAGES_OF_4K, 1, async (list) => {
    assert.throws(() => udmabuf.create(list, 'a 4K picture'), {
      problem: UdmabufProblem.TOO_MANY_PIECES,
      message:
        /^a 4K picture is in 8100 pieces, and the driver takes 1024: write 8100 to .*list_limit, or have the guest/,
    })
    assert.equal(creatingList(list), 'EINVAL')
    await withLimit('list_limit', 8100, () => {
      const buffer = udmabuf.create(list, 'a 4K picture')
      assert.equal(buffer.size, 33_177_600)
      assert.equal(buffer.bytes[33_177_599], 0)
      buffer.close()
    })
  })
})

test('an 8K picture is larger than the driver takes, unless it is told to take as much', async () => {
  await withPicture(PAGES_OF_8K, PAGES_OF_8K, async (list) => {
    assert.throws(() => udmabuf.create(list, 'an 8K picture'), {
      problem: UdmabufProblem.TOO_LARGE,
      message: /^an 8K picture has 132710400 bytes, and the driver takes 67108864: write 127 to .*size_limit_mb$/,
    })
    assert.equal(creating(list[0]), 'EINVAL')
    await withLimit('size_limit_mb', 127, () => {
      const buffer = udmabuf.create(list, 'an 8K picture')
      assert.equal(buffer.size, 132_710_400)
      buffer.close()
    })
  })
})

test('an 8K picture of 32,400 single pages takes both limits', async () => {
  await withPicture(PAGES_OF_8K, 1, async (list) => {
    await withLimit('size_limit_mb', 127, async () => {
      assert.throws(() => udmabuf.create(list, 'an 8K picture'), { problem: UdmabufProblem.TOO_MANY_PIECES })
      await withLimit('list_limit', 32_400, () => {
        const buffer = udmabuf.create(list, 'an 8K picture')
        assert.equal(buffer.size, 132_710_400)
        buffer.close()
      })
    })
  })
  assert.deepEqual(udmabuf.limits, { pieces: 1024, bytes: 64 << 20 })
})
