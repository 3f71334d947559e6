import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Scratch } from '../../host/node/testing/scratch.ts'
import { formatByContent, formatByName } from './image-format.ts'

const scratch = new Scratch()

function imageWith(text: string, at = 0): string {
  const bytes = new Uint8Array(4096)
  bytes.set(
    Uint8Array.from(text, (character) => character.charCodeAt(0)),
    at,
  )
  return scratch.image(bytes)
}

test('a file name extension denotes a format, in upper or lower case', () => {
  const names = ['a.qcow2', 'b.QCOW2', 'c.vhd', 'd.vhdx', 'e.vdi', 'f.vmdk', 'g.img', 'qcow2', '.qcow2', 'h.qcow2.bak']
  assert.deepEqual(names.map(formatByName), [
    ...['qcow2', 'qcow2', 'vpc', 'vhdx', 'vdi', 'vmdk'],
    ...[undefined, undefined, undefined, undefined],
  ])
})

test('formatByContent recognizes an image by its first bytes', () => {
  assert.equal(formatByContent(imageWith('QFI\xfb\0\0\0\x03')), 'qcow2')
  assert.equal(formatByContent(imageWith('QFI\xfb\0\0\0\x01')), undefined)
  assert.equal(formatByContent(imageWith('\x7f\x10\xda\xbe', 64)), 'vdi')
  assert.equal(formatByContent(imageWith('KDMV')), 'vmdk')
  assert.equal(formatByContent(imageWith('# Disk DescriptorFile\n')), 'vmdk')
  assert.equal(formatByContent(imageWith('conectix')), 'vpc')
  assert.equal(formatByContent(imageWith('vhdxfile')), 'vhdx')
  assert.equal(formatByContent(imageWith(' QFI\xfb\0\0\0\x03')), undefined)
  assert.equal(formatByContent(scratch.image(Uint8Array.of(0x51, 0x46))), undefined)
})

test('formatByContent returns undefined for a file that cannot be read', () => {
  assert.equal(formatByContent(scratch.missing), undefined)
  assert.equal(formatByContent(scratch.folder), undefined)
})
