import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { CpioWriter } from './cpio.ts'

const FILE_HEADER =
  '070701' + // magic
  '00000001' + // inode
  '000081A4' + // a regular file, 0644
  '00000000' +
  '00000000' + // root's
  '00000001' + // one link
  '00000000' + // no time
  '00000003' + // size
  '00000000' +
  '00000000' + // no device
  '00000000' +
  '00000000' +
  '00000002' + // size of the name
  '00000000' // no checksum
const TRAILER_HEADER = `070701${'00000002'}${'00000000'.repeat(3)}00000001${'00000000'.repeat(6)}0000000b00000000`

test('an archive of one file has the documented bytes', () => {
  const archive = new CpioWriter()
  archive.file('f', new TextEncoder().encode('abc'), 0o644)
  const expected = `${FILE_HEADER.toLowerCase()}f\0abc\0${TRAILER_HEADER}TRAILER!!!\0\0\0\0`
  assert.equal(Buffer.from(archive.finish()).toString('latin1'), expected)
})

interface Entry {
  readonly name: string
  readonly mode: number
  readonly content: Buffer
  readonly device: readonly number[]
}

/** Reads an archive as the kernel does: header, name to a multiple of 4, content to a multiple of 4. */
function entriesOf(archive: Uint8Array): Entry[] {
  const bytes = Buffer.from(archive)
  const entries: Entry[] = []
  for (let at = 0; ; ) {
    assert.equal(bytes.toString('latin1', at, at + 6), '070701')
    const field = (index: number): number =>
      Number.parseInt(bytes.toString('latin1', at + 6 + 8 * index, at + 14 + 8 * index), 16)
    const nameEnd = at + 110 + field(11)
    const name = bytes.toString('utf8', at + 110, nameEnd - 1)
    assert.equal(bytes[nameEnd - 1], 0)
    const start = (nameEnd + 3) & ~3
    const content = bytes.subarray(start, start + field(6))
    const next = (start + field(6) + 3) & ~3
    if (name === 'TRAILER!!!') {
      assert.equal(next, bytes.length)
      return entries
    }
    entries.push({ name, mode: field(1), content, device: [field(9), field(10)] })
    at = next
  }
}

test('entries of random names and sizes are read back', () => {
  const file = fc.record({
    name: fc.string({ minLength: 1, unit: 'grapheme-ascii' }),
    content: fc.uint8Array({ maxLength: 40 }),
  })
  fc.assert(
    fc.property(fc.array(file), (files) => {
      const archive = new CpioWriter()
      for (const { name, content } of files) archive.file(name, content, 0o755)
      const read = entriesOf(archive.finish())
      assert.deepEqual(
        read.map(({ name, mode, content }) => [name, mode, content]),
        files.map(({ name, content }) => [name, 0o100755, Buffer.from(content)]),
      )
    }),
  )
})

function sample(): Uint8Array {
  const archive = new CpioWriter()
  archive.directory('bin')
  archive.file('bin/busybox', Uint8Array.of(1, 2, 3, 4, 5), 0o755)
  archive.symbolicLink('bin/sh', 'busybox')
  archive.device('dev-null', 0o666, 1, 3)
  return archive.finish()
}

test('folders, links and devices have their types', () => {
  assert.deepEqual(entriesOf(sample()), [
    { name: 'bin', mode: 0o040755, content: Buffer.of(), device: [0, 0] },
    { name: 'bin/busybox', mode: 0o100755, content: Buffer.of(1, 2, 3, 4, 5), device: [0, 0] },
    { name: 'bin/sh', mode: 0o120777, content: Buffer.from('busybox'), device: [0, 0] },
    { name: 'dev-null', mode: 0o020666, content: Buffer.of(), device: [1, 3] },
  ])
})

function missingCpio(): string | false {
  try {
    execFileSync('cpio', ['--version'], { stdio: 'ignore' })
    return false
  } catch {
    return 'the archive is listed with cpio: apt-get install cpio'
  }
}

test('cpio lists the archive', { skip: missingCpio() }, () => {
  const listed = execFileSync('cpio', ['-itv', '--quiet'], {
    input: sample(),
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  })
  const [bin, busybox, sh, device] = listed.trim().split('\n')
  assert.match(bin ?? '', /^drwxr-xr-x .* bin$/)
  assert.match(busybox ?? '', /^-rwxr-xr-x .* 5 .* bin\/busybox$/)
  assert.match(sh ?? '', /^lrwxrwxrwx .* bin\/sh -> busybox$/)
  assert.match(device ?? '', /^crw-rw-rw- .* 1, +3 .* dev-null$/)
})
