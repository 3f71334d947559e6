import assert from 'node:assert/strict'
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { SpanList } from '../../../memory/span-list.ts'
import { Descriptor } from '../descriptor.ts'
import { Mapping } from '../mapping.ts'
import { FallocateMode } from '../posix.ts'
import { systemCall } from '../system-call.ts'
import { createReactor } from './create-reactor.ts'
import type { Completion } from './operation.ts'
import type { Reactor } from './reactor.ts'
import { KINDS } from './testing/kinds.ts'
import { mappedMemory } from './testing/mapped-memory.ts'
import { runWith } from './testing/run-with.ts'

const folder = mkdtempSync(join(tmpdir(), 'outboard-reactor-'))
after(() => rmSync(folder, { recursive: true }))
let files = 0

function fileOf(content: Uint8Array): string {
  const path = join(folder, `${files++}`)
  writeFileSync(path, content)
  return path
}

/** Result of one operation. */
function outcome(start: (completion: Completion) => void): Promise<number> {
  return new Promise((resolve) => start({ done: resolve }))
}

const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i * 31 + (i >>> 8) * 7)

for (const { kind, skip } of KINDS) {
  const withReactor = (name: string, body: (reactor: Reactor) => Promise<void>) => {
    test(`${name}: ${kind}`, { skip }, async () => {
      const reactor = createReactor({ prefer: kind })
      await runWith(reactor, () => body(reactor))
      reactor.close()
    })
  }

  withReactor('scattered memory is read from a file and written to it', async (reactor) => {
    const content = bytes(20000)
    const path = fileOf(content)
    const fd = openSync(path, 'r+')
    const { region, close } = mappedMemory(65536)
    const spans = new SpanList()
    spans.add(region, 40000, 10)
    spans.add(region, 7, 9000)
    assert.equal(await outcome((done) => reactor.readSpans(fd, 513, spans, done)), 9010)
    assert.deepEqual(region.u8.slice(40000, 40010), content.slice(513, 523))
    assert.deepEqual(region.u8.slice(7, 9007), content.slice(523, 9523))
    assert.equal(await outcome((done) => reactor.writeSpans(fd, 15000, spans, done)), 9010)
    assert.equal(await outcome((done) => reactor.sync(fd, done)), 0)
    content.copyWithin(15000, 513, 523)
    const expected = new Uint8Array(24010)
    expected.set(content)
    expected.set(content.slice(513, 9523), 15000)
    assert.deepEqual(new Uint8Array(readFileSync(path)), expected)
    close()
    closeSync(fd)
  })

  withReactor('a read past the end of the file returns the bytes up to the end', async (reactor) => {
    const fd = openSync(fileOf(bytes(1000)), 'r')
    const { region, close } = mappedMemory(65536)
    const spans = new SpanList()
    spans.add(region, 0, 600)
    spans.add(region, 1000, 600)
    assert.equal(await outcome((done) => reactor.readSpans(fd, 0, spans, done)), 1000)
    assert.equal(await outcome((done) => reactor.readSpans(fd, 5000, spans, done)), 0)
    close()
    closeSync(fd)
  })

  withReactor('more operations than the submission queue holds complete, each once', async (reactor) => {
    const content = bytes(4096)
    const fd = openSync(fileOf(content), 'r')
    const { region, close } = mappedMemory(2 << 20)
    const outcomes: Promise<number>[] = []
    for (let i = 0; i < 3000; i++) {
      const spans = new SpanList(1)
      spans.add(region, i * 512, 512)
      outcomes.push(outcome((done) => reactor.readSpans(fd, (i % 8) * 512, spans, done)))
    }
    assert.deepEqual(new Set(await Promise.all(outcomes)), new Set([512]))
    for (const i of [0, 1, 511, 512, 513, 2999]) {
      const start = (i % 8) * 512
      assert.deepEqual(region.u8.slice(i * 512, i * 512 + 512), content.slice(start, start + 512))
    }
    close()
    closeSync(fd)
  })

  withReactor('a full device, an I/O error and a closed descriptor are results', async (reactor) => {
    const { region, close } = mappedMemory(65536)
    const spans = new SpanList()
    spans.add(region, 0, 512)
    const full = openSync('/dev/full', 'r+')
    assert.equal(await outcome((done) => reactor.writeSpans(full, 0, spans, done)), -28) // ENOSPC
    closeSync(full)
    // The bottom of the address space is not mapped: reading it through /proc/self/mem fails.
    const broken = openSync('/proc/self/mem', 'r')
    assert.equal(await outcome((done) => reactor.readSpans(broken, 0, spans, done)), -5) // EIO
    closeSync(broken)
    assert.equal(await outcome((done) => reactor.readSpans(100_000, 0, spans, done)), -9) // EBADF
    assert.equal(await outcome((done) => reactor.sync(100_000, done)), -9)
    assert.equal(await outcome((done) => reactor.allocate(100_000, 0, 0, 512, done)), -9)
    const [reading] = [openSync(fileOf(bytes(512)), 'r')]
    assert.equal(await outcome((done) => reactor.writeSpans(reading, 0, spans, done)), -9)
    closeSync(reading)
    close()
  })

  withReactor('allocate punches holes in files', async (reactor) => {
    const content = bytes(16384)
    const path = fileOf(content)
    const fd = openSync(path, 'r+')
    const mode = FallocateMode.KEEP_SIZE | FallocateMode.PUNCH_HOLE
    const result = await outcome((done) => reactor.allocate(fd, mode, 4096, 8192, done))
    // EOPNOTSUPP: this file system has no holes.
    if (result !== -95) {
      assert.equal(result, 0)
      content.fill(0, 4096, 12288)
    }
    assert.deepEqual(new Uint8Array(readFileSync(path)), content)
    closeSync(fd)
  })

  withReactor('I/O to memory that a peer removed fails with EFAULT', async (reactor) => {
    const create = systemCall<[name: Uint8Array, flags: number]>('int memfd_create(const void *name, uint32_t flags)')
    const descriptor = new Descriptor(create('a test', Uint8Array.of(0x78, 0), 0), 'guest memory')
    ftruncateSync(descriptor.fd, 65536)
    const mapping = Mapping.of(descriptor, { offset: 0, length: 65536 })
    const fd = openSync(fileOf(bytes(65536)), 'r+')
    ftruncateSync(descriptor.fd, 0)
    const spans = new SpanList()
    spans.add(mapping.regions(0)[0], 8192, 8192)
    assert.equal(await outcome((done) => reactor.readSpans(fd, 0, spans, done)), -14) // EFAULT
    assert.equal(await outcome((done) => reactor.writeSpans(fd, 0, spans, done)), -14)
    closeSync(fd)
    mapping.close()
  })

  withReactor('a mapping can be closed while a read into it is in flight', async (reactor) => {
    const fd = openSync(fileOf(bytes(1 << 20)), 'r')
    const { region, close } = mappedMemory(1 << 20)
    const spans = new SpanList()
    spans.add(region, 0, 1 << 20)
    const read = outcome((done) => reactor.readSpans(fd, 0, spans, done))
    close()
    assert.equal(await read, 1 << 20)
    closeSync(fd)
  })
}
