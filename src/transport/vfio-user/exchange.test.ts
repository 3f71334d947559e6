import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventFd } from '../../host/linux/event-fd.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { encodeMessage } from './command-stream.ts'
import { echoRig } from './testing/echo-rig.ts'
import { MEMORY_BYTES, type VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(hex.replaceAll(/\s/g, '').match(/../g) ?? [], (byte) => Number.parseInt(byte, 16))
}

function hex(data: Uint8Array): string {
  return Array.from(data, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Returns the next answer in hexadecimal. */
function answer(rig: VfioUserRig): string {
  const message = rig.client.next()
  if (!message) return 'none'
  for (const descriptor of message.descriptors) descriptor.close()
  return hex(encodeMessage(message, message.payload))
}

const CAPABILITIES =
  '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, ' +
  '"migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}\0'
const ANSWERED =
  '{"capabilities":{"max_msg_fds":16,"max_data_xfer_size":1048576,"max_dma_maps":4096,"pgsizes":4096,"write_multiple":true}}\0'
const text = (said: string) => hex(new TextEncoder().encode(said))
/** The header of VERSION, and its version: 0.0. */
const GREETING = `0000 0100 d6000000 00000000 00000000 0000 0000 ${text(CAPABILITIES)}`

test('the messages of a starting QEMU 11.1 are answered byte for byte', { skip }, async () => {
  const rig = echoRig()
  const shared = [rig.file.descriptor]
  const event = EventFd.create('an interrupt')
  const steps: [said: string, expected: string, descriptors?: typeof shared][] = [
    [GREETING, `0000 0100 8e000000 01000000 00000000 0000 0000 ${text(ANSWERED)}`],
    // DMA_MAP: 1 MiB with a file, and ROM without one.
    [
      '0100 0200 30000000 00000000 00000000 20000000 03000000 0000000000000000 0000000000000000 0000100000000000',
      '0100 0200 10000000 01000000 00000000',
      shared,
    ],
    [
      '0200 0200 30000000 00000000 00000000 20000000 01000000 0000000000000000 0000fcff00000000 0000040000000000',
      '0200 0200 10000000 01000000 00000000',
    ],
    // DEVICE_GET_INFO: PCI device with reset, 9 regions and 5 interrupt indices.
    [
      '0300 0400 20000000 00000000 00000000 10000000 00000000 00000000 00000000',
      '0300 0400 20000000 01000000 00000000 10000000 03000000 09000000 05000000',
    ],
    // DEVICE_GET_REGION_INFO: BAR 0, BAR 2, which does not exist, and configuration space.
    [
      '0400 0500 30000000 00000000 00000000 20000000 00000000 00000000 00000000 0000000000000000 0000000000000000',
      '0400 0500 30000000 01000000 00000000 20000000 03000000 00000000 00000000 0040000000000000 0000000000000000',
    ],
    [
      '0600 0500 30000000 00000000 00000000 20000000 00000000 02000000 00000000 0000000000000000 0000000000000000',
      '0600 0500 30000000 01000000 00000000 20000000 00000000 02000000 00000000 0000000000000000 0000000000000000',
    ],
    [
      '0a00 0500 30000000 00000000 00000000 20000000 00000000 07000000 00000000 0000000000000000 0000000000000000',
      '0a00 0500 30000000 01000000 00000000 20000000 03000000 07000000 00000000 0001000000000000 0000000000000000',
    ],
    // DEVICE_GET_IRQ_INFO: MSI-X.
    [
      '1600 0700 20000000 00000000 00000000 10000000 00000000 02000000 00000000',
      '1600 0700 20000000 01000000 00000000 10000000 03000000 02000000 03000000',
    ],
    // REGION_READ of vendor and device, and REGION_WRITE of the command register.
    [
      '1700 0900 20000000 00000000 00000000 0000000000000000 07000000 04000000',
      '1700 0900 24000000 01000000 00000000 0000000000000000 07000000 04000000 f41a4410',
    ],
    [
      '1800 0a00 22000000 00000000 00000000 0400000000000000 07000000 02000000 0604',
      '1800 0a00 20000000 01000000 00000000 0400000000000000 07000000 02000000',
    ],
    // DEVICE_SET_IRQS: an event for INTx; INTx disabled; MSI-X enabled, vector 0 without an event.
    [
      '1900 0800 24000000 00000000 00000000 14000000 24000000 00000000 00000000 01000000',
      '1900 0800 10000000 01000000 00000000',
      [event.descriptor],
    ],
    [
      '8f02 0800 24000000 00000000 00000000 14000000 21000000 00000000 00000000 00000000',
      '8f02 0800 10000000 01000000 00000000',
    ],
    [
      '9002 0800 24000000 00000000 00000000 14000000 24000000 02000000 00000000 01000000',
      '9002 0800 10000000 01000000 00000000',
    ],
    ['4500 0d00 10000000 00000000 00000000', '4500 0d00 10000000 01000000 00000000'],
    // DMA_UNMAP of the mapped range.
    [
      '4f00 0300 28000000 00000000 00000000 18000000 00000000 0000000000000000 0000100000000000',
      '4f00 0300 28000000 01000000 00000000 18000000 00000000 0000000000000000 0000100000000000',
    ],
  ]
  for (const [said, expected, descriptors] of steps) {
    rig.client.raw(bytes(said), descriptors)
    assert.equal(answer(rig), expected.replaceAll(/\s/g, ''), said)
  }
  event.close()
  await rig.close()
})

test('several messages in one read are answered in order, each with its own descriptors', {
  skip,
}, async () => {
  const rig = echoRig()
  rig.greet()
  rig.map()
  const all = [
    '5900 0300 28000000 00000000 00000000 18000000 00000000 0000000000000000 0000100000000000',
    '5200 0200 30000000 00000000 00000000 20000000 01000000 0000000000000000 00000c0000000000 0000020000000000',
    '5600 0200 30000000 00000000 00000000 20000000 03000000 0000000000000000 0000000000000000 00000c0000000000',
  ].map(bytes)
  const joined = new Uint8Array(all.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const one of all) {
    joined.set(one, at)
    at += one.length
  }
  // The descriptor belongs to the last message. The earlier ones are answered without it.
  rig.client.raw(joined.subarray(0, all[0].length + all[1].length))
  rig.client.raw(all[2], [rig.file.descriptor])
  const answers = [answer(rig), answer(rig), answer(rig)]
  assert.deepEqual(
    answers.map((one) => one.slice(0, 8)),
    ['59000300', '52000200', '56000200'],
  )
  await rig.close()
})

test('a message may arrive in pieces of any size', { skip }, async () => {
  const rig = echoRig()
  for (const byte of bytes(GREETING)) rig.client.raw(Uint8Array.of(byte))
  assert.equal(answer(rig).slice(0, 24), '000001008e00000001000000')
  const map = { argsz: 32, flags: 3, offset: 0, address: 0, size: MEMORY_BYTES }
  assert.deepEqual(rig.client.ask('DMA_MAP', map, [rig.file.descriptor]).descriptors, [])
  await rig.close()
})
