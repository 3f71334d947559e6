import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { enterExport } from './handshake.ts'
import { Peer } from './peer.ts'
import { OptionReply } from './protocol.ts'
import {
  acknowledgement,
  blockSizeBytes,
  exportBytes,
  NbdServer,
  openingBytes,
  optionReplyBytes,
  READABLE,
  WRITABLE,
} from './testing/nbd-server.ts'

const skip = ffiMissing() ?? false
const MIB = 1 << 20

/** Performs a handshake with a server that sends `words`, and then disconnects if `disconnects` is set. */
async function meet(words: readonly Uint8Array[], disconnects = false) {
  const server = await NbdServer.listen(words)
  const stream = server.connect()
  try {
    const peer = new Peer(stream, 300)
    const entered = enterExport(peer)
    if (disconnects) setTimeout(() => server.hangUp(), 50)
    return { about: await entered, said: await server.heard }
  } finally {
    stream.close()
    server.close()
  }
}

test('the handshake selects the default export, and requests no block sizes  @nbd NBD_OPT_GO', { skip }, async () => {
  const unknown = optionReplyBytes(OptionReply.INFO, Uint8Array.of(0, 2, 0x68, 0x69))
  const words = [openingBytes(), unknown, blockSizeBytes(1, 65536, 32 * MIB), exportBytes(MIB + 700), acknowledgement()]
  const { about, said } = await meet(words)
  assert.deepEqual(about, {
    ...{ byteLength: MIB + 512, readOnly: false, canDiscard: true },
    maxBytes: 32 * MIB,
  })
  assert.deepEqual(said, [
    ...[0, 0, 0, 1],
    ...[0x49, 0x48, 0x41, 0x56, 0x45, 0x4f, 0x50, 0x54],
    ...[0, 0, 0, 7, 0, 0, 0, 6],
    ...[0, 0, 0, 0, 0, 0],
  ])
})

test('without a maximum payload from the server, that of the specification applies  @nbd Block size constraints', {
  skip,
}, async () => {
  const { about } = await meet([openingBytes(), exportBytes(MIB, READABLE), acknowledgement()])
  assert.deepEqual(about, {
    ...{ byteLength: MIB, readOnly: true, canDiscard: false },
    maxBytes: 32 * MIB,
  })
})

test('a maximum above that of the specification is reduced to it', { skip }, async () => {
  const words = (maximum: number) => [
    openingBytes(),
    blockSizeBytes(1, 512, maximum),
    exportBytes(MIB),
    acknowledgement(),
  ]
  assert.equal((await meet(words(0xffff_ffff))).about.maxBytes, 32 * MIB)
  assert.equal((await meet(words(1000))).about.maxBytes, 512)
})

const invalid: Readonly<Record<string, { words: Uint8Array[]; message: RegExp; disconnects?: boolean }>> = {
  'speaks another protocol': {
    words: [new TextEncoder().encode('HTTP/1.1 400 Bad Request\r\n')],
    message: /not an NBD server/,
  },
  'supports only the old handshake': { words: [openingBytes().fill(0, 17)], message: /not an NBD server/ },
  'sends nothing': { words: [], message: /does not answer/ },
  'disconnects within its greeting': {
    words: [openingBytes().subarray(0, 7)],
    message: /disconnected/,
    disconnects: true,
  },
  'replies with a wrong magic number': {
    words: [openingBytes(), optionReplyBytes(OptionReply.ACK, undefined, { magic: 1n })],
    message: /invalid reply/,
  },
  'announces a reply of gigabytes': {
    words: [openingBytes(), optionReplyBytes(OptionReply.INFO, new Uint8Array(0)).fill(0xff, 16)],
    message: /reply of 4294967295 bytes/,
  },
  'sends another reply than information': { words: [openingBytes(), optionReplyBytes(2)], message: /type 2/ },
  'sends empty information': { words: [openingBytes(), optionReplyBytes(OptionReply.INFO)], message: /type 3/ },
  'sends truncated information about its export': {
    words: [openingBytes(), optionReplyBytes(OptionReply.INFO, new Uint8Array(4))],
    message: /invalid length \(4\)/,
  },
  'sends no information about its export': {
    words: [openingBytes(), acknowledgement()],
    message: /no information about its export/,
  },
  'sends replies without end': {
    words: [openingBytes(), ...Array(100).fill(exportBytes(MIB))],
    message: /more than 64 replies/,
  },
  'refuses with a message': {
    words: [
      openingBytes(),
      optionReplyBytes(OptionReply.ERROR_BIT + 6, new TextEncoder().encode('no\x1b[2Jsuch\nthing')),
    ],
    message: /^the server refuses: no \[2Jsuch thing$/,
  },
  'refuses without a message': {
    words: [openingBytes(), optionReplyBytes(OptionReply.ERROR_BIT + 2)],
    message: /error 2$/,
  },
  'sends data after the handshake': {
    words: [openingBytes(), exportBytes(MIB), acknowledgement(), Uint8Array.of(0)],
    message: /unexpected data/,
  },
  'exports less than a sector': {
    words: [openingBytes(), exportBytes(511), acknowledgement()],
    message: /smaller than/,
  },
  'exports more bytes than a safe integer': {
    words: [openingBytes(), exportBytes(2n ** 60n), acknowledgement()],
    message: /too large/,
  },
  'does not support FLUSH': {
    words: [openingBytes(), exportBytes(MIB, WRITABLE & ~4), acknowledgement()],
    message: /must support FLUSH/,
  },
  'sends no transmission flags': {
    words: [openingBytes(), exportBytes(MIB, 0), acknowledgement()],
    message: /no transmission flags/,
  },
  'requires blocks of 513 bytes': {
    words: [openingBytes(), blockSizeBytes(513, 4096, MIB), exportBytes(MIB), acknowledgement()],
    message: /blocks of 513 bytes/,
  },
  'requires blocks larger than a sector': {
    words: [openingBytes(), blockSizeBytes(4096, 4096, MIB), exportBytes(MIB), acknowledgement()],
    message: /blocks of 4096 bytes; blocks of 512/,
  },
  'accepts less than a sector': {
    words: [openingBytes(), blockSizeBytes(1, 4096, 100), exportBytes(MIB), acknowledgement()],
    message: /at most 100 bytes/,
  },
}

for (const [what, { words, message, disconnects }] of Object.entries(invalid)) {
  test(`a server that ${what} is refused in one line`, { skip }, async () => {
    await assert.rejects(
      meet(words, disconnects),
      (error: Error) => error.name === 'DiskError' && message.test(error.message),
    )
  })
}
