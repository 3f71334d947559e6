import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import { PmemFile } from './pmem-file.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-pmem-file-'))
after(() => rmSync(folder, { recursive: true }))

function fileOf(name: string, size: number): string {
  const file = path.join(folder, name)
  writeFileSync(file, '')
  truncateSync(file, size)
  return file
}

test('a flush ends with the result of fdatasync, on the reactor', async () => {
  const reactor = createReactor()
  const file = PmemFile.open(fileOf('good', 4 << 20), reactor, assert.fail)
  assert.equal(file.size, 4 << 20)
  const results: boolean[] = []
  file.flush((durable) => {
    results.push(durable)
    reactor.stop()
  })
  await reactor.run()
  assert.deepEqual(results, [true])
  file.close()
  reactor.close()
})

test('after a failed flush all later ones fail, with one line in the log', async () => {
  const reactor = createReactor()
  const lines: string[] = []
  const file = PmemFile.open(fileOf('bad', 2 << 20), reactor, (line) => lines.push(line))
  const results: boolean[] = []
  closeSync(file.backing.fd)
  file.flush((durable) => {
    results.push(durable)
    file.flush((again) => {
      results.push(again)
      reactor.stop()
    })
  })
  await reactor.run()
  assert.deepEqual(results, [false, false])
  assert.equal(lines.filter((line) => /a flush failed with errno 9/.test(line)).length, 1)
  reactor.close()
})

for (const size of [0, 4096, (2 << 20) + 512]) {
  test(`a file of ${size} bytes is refused with the command that mends it`, () => {
    const reactor = createReactor()
    assert.throws(() => PmemFile.open(fileOf(`size-${size}`, size), reactor, () => {}), /truncate -s /)
    reactor.close()
  })
}
