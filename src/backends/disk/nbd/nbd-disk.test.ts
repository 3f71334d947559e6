import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { until } from '../../../../test/until.ts'
import { pattern } from '../../../devices/virtio/block/testing/driver-requests.ts'
import { createReactor } from '../../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../../host/linux/reactor/reactor.ts'
import { KINDS } from '../../../host/linux/reactor/testing/kinds.ts'
import { mappedMemory } from '../../../host/linux/reactor/testing/mapped-memory.ts'
import { runWith } from '../../../host/linux/reactor/testing/run-with.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { type Disk, DiskOp } from '../../../services/disk.ts'
import { NbdDisk } from './nbd-disk.ts'
import { NBD_CMD_FLAG_NO_HOLE, NbdCommand } from './protocol.ts'
import {
  acknowledgement,
  blockSizeBytes,
  exportBytes,
  NbdServer,
  openingBytes,
  READABLE,
  type ReceivedRequest,
  simpleReply,
  WRITABLE,
} from './testing/nbd-server.ts'

const MIB = 1 << 20
const guest = mappedMemory(16 * MIB)

interface Meeting {
  readonly disk: NbdDisk
  readonly server: NbdServer
  readonly lines: string[]
}

interface Served {
  readonly kind: Reactor['kind']
  readonly byteLength?: number
  readonly flags?: number
  /** Maximum bytes of a request. */
  readonly maxBytes?: number
}

/** Connects a disk to a server, and runs `body` in the reactor. Calls the function that `body` returns after that. */
async function meet(
  { kind, byteLength = MIB, flags = WRITABLE, maxBytes = MIB }: Served,
  body: (meeting: Meeting) => Promise<(() => Promise<void>) | void>,
): Promise<void> {
  const sizes = blockSizeBytes(1, 4096, maxBytes)
  const server = await NbdServer.listen([openingBytes(), sizes, exportBytes(byteLength, flags), acknowledgement()])
  const reactor = createReactor({ prefer: kind })
  const lines: string[] = []
  try {
    const disk = await NbdDisk.open(server.connect(), reactor, { name: 'x.qcow2', log: (line) => lines.push(line) })
    const afterwards: ((() => Promise<void>) | void)[] = []
    await runWith(reactor, async () => {
      afterwards.push(await body({ disk, server, lines }))
    })
    await afterwards[0]?.()
    await disk.close().catch(() => {})
  } finally {
    reactor.close()
    server.close()
  }
}

/** Serves `content` according to the protocol. @returns the requests that it received */
function serve(server: NbdServer, content: Uint8Array): ReceivedRequest[] {
  const requests: ReceivedRequest[] = []
  server.onRequest = (request) => {
    requests.push(request)
    if (request.type !== NbdCommand.DISC) server.say(simpleReply(request.cookie, 0, perform(content, request)))
  }
  return requests
}

/** Executes a request on `content`. @returns the data of a read */
function perform(content: Uint8Array, { type, offset, length, data }: ReceivedRequest): Uint8Array {
  if (type === NbdCommand.READ) return content.slice(offset, offset + length)
  if (type === NbdCommand.WRITE) content.set(data, offset)
  if (type === NbdCommand.WRITE_ZEROES || type === NbdCommand.TRIM) content.fill(0, offset, offset + length)
  return new Uint8Array(0)
}

interface Sent {
  readonly op: DiskOp
  readonly offset?: number
  readonly length?: number
  readonly mayUnmap?: boolean
  /** Lengths of consecutive pieces of guest memory that hold the data. */
  readonly at?: number
  readonly pieces?: number
}

/** Sends a request to a disk. @returns its error, if it fails */
function send(disk: Disk, { op, offset = 0, length = 0, mayUnmap = false, at = 0, pieces = length }: Sent) {
  const data = new SpanList()
  const moves = op === DiskOp.READ || op === DiskOp.WRITE
  for (let done = 0; moves && done < length; done += pieces)
    data.add(guest.region, at + done, Math.min(pieces, length - done))
  return new Promise<string | undefined>((complete) => {
    disk.submit({ op, offset, length, mayUnmap, data, complete })
  })
}

for (const { kind, skip } of KINDS) {
  test(`an image holds what was written, in whatever order and pieces the server replies: ${kind}`, {
    skip,
  }, async () => {
    const image = pattern(MIB, 1)
    const expected = image.slice()
    const sectors = MIB / 512
    const part = fc.record({
      op: fc.constantFrom(DiskOp.READ, DiskOp.WRITE, DiskOp.WRITE_ZEROES, DiskOp.FLUSH),
      length: fc.integer({ min: 1, max: 300 }),
      pieces: fc.constantFrom(1, 7, 512, 65536),
      seed: fc.nat(255),
    })
    const batch = fc.record({
      parts: fc.array(part, { minLength: 1, maxLength: 12 }),
      start: fc.nat(sectors - 1),
      order: fc.infiniteStream(fc.nat(100)),
      tears: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 10 }),
    })
    await meet({ kind, maxBytes: 65536 }, async ({ disk, server, lines }) => {
      await fc.assert(
        fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 4 }), async (batches) => {
          for (const { parts, start, order, tears } of batches) {
            server.onRequest = answerAnyhow(server, image, order, tears)
            let sector = start
            let at = 0
            const reads: { at: number; offset: number; length: number }[] = []
            const outcomes: Promise<string | undefined>[] = []
            for (const { op, length: wanted, pieces, seed } of parts) {
              const length = Math.min(wanted, sectors - sector) * 512
              if (length === 0) break
              const offset = sector * 512
              if (op === DiskOp.FLUSH) {
                outcomes.push(send(disk, { op }))
                continue
              }
              if (op === DiskOp.READ) {
                guest.region.u8.fill(0xee, at, at + length)
                reads.push({ at, offset, length })
              } else if (op === DiskOp.WRITE) {
                guest.region.u8.set(pattern(length, seed), at)
                expected.set(pattern(length, seed), offset)
              } else expected.fill(0, offset, offset + length)
              outcomes.push(send(disk, { op, offset, length, at, pieces }))
              sector += length / 512
              at += length
            }
            for (const outcome of await Promise.all(outcomes)) assert.equal(outcome, undefined)
            for (const { at: where, offset, length } of reads) {
              const read = guest.region.u8.subarray(where, where + length)
              assert.ok(Buffer.compare(read, expected.subarray(offset, offset + length)) === 0, `read at ${offset}`)
            }
          }
        }),
        { numRuns: 25 },
      )
      assert.deepEqual(image, expected)
      assert.deepEqual(lines, [])
    })
  })

  test(`a request that exceeds the server’s maximum is sent in parts, one after the other: ${kind}`, {
    skip,
  }, async () => {
    await meet({ kind, maxBytes: 8192 }, async ({ disk, server }) => {
      const content = pattern(MIB, 3)
      const requests = serve(server, content)
      const ranges = () => requests.splice(0).map(({ type, offset, length }) => [type, offset, length])
      assert.equal(await send(disk, { op: DiskOp.READ, offset: 512, length: 20_480, pieces: 3 }), undefined)
      assert.deepEqual(ranges(), [
        [NbdCommand.READ, 512, 8192],
        [NbdCommand.READ, 8704, 8192],
        [NbdCommand.READ, 16_896, 4096],
      ])
      assert.deepEqual(guest.region.u8.slice(0, 20_480), content.slice(512, 20_992))
      assert.equal(
        await send(disk, { op: DiskOp.WRITE, offset: 4096, length: 12_288, at: 512, pieces: 5000 }),
        undefined,
      )
      assert.deepEqual(ranges(), [
        [NbdCommand.WRITE, 4096, 8192],
        [NbdCommand.WRITE, 12_288, 4096],
      ])
      assert.deepEqual(content.slice(4096, 16_384), guest.region.u8.slice(512, 12_800))
      // The maximum applies to payloads only.
      assert.equal(await send(disk, { op: DiskOp.DISCARD, length: 65_536 }), undefined)
      assert.deepEqual(ranges(), [[NbdCommand.TRIM, 0, 65_536]])
    })
  })

  test(`zeroed ranges stay allocated unless the driver allows unmapping  @nbd NBD_CMD_FLAG_NO_HOLE: ${kind}`, {
    skip,
  }, async () => {
    await meet({ kind }, async ({ disk, server }) => {
      const requests = serve(server, new Uint8Array(MIB))
      await send(disk, { op: DiskOp.WRITE_ZEROES, length: 512 })
      await send(disk, { op: DiskOp.WRITE_ZEROES, length: 512, mayUnmap: true })
      assert.deepEqual(
        requests.map(({ flags }) => flags),
        [NBD_CMD_FLAG_NO_HOLE, 0],
      )
    })
  })

  test(`an error reply fails only its request: ${kind}`, { skip }, async () => {
    await meet({ kind }, async ({ disk, server, lines }) => {
      const content = pattern(MIB, 5)
      server.onRequest = (request) => {
        const bad = request.offset === 4096 || request.type === NbdCommand.FLUSH
        server.say(bad ? simpleReply(request.cookie, 28) : simpleReply(request.cookie, 0, perform(content, request)))
      }
      const outcomes = await Promise.all([
        send(disk, { op: DiskOp.READ, length: 4096 }),
        send(disk, { op: DiskOp.READ, offset: 4096, length: 1024, at: 4096 }),
        send(disk, { op: DiskOp.WRITE, offset: 4096, length: 512 }),
        send(disk, { op: DiskOp.READ, offset: 8192, length: 4096, at: 8192 }),
        send(disk, { op: DiskOp.FLUSH }),
      ])
      const failures = ['read of 1024 bytes at 4096: ENOSPC', 'write of 512 bytes at 4096: ENOSPC', 'flush: ENOSPC']
      assert.deepEqual(outcomes, [undefined, failures[0], failures[1], undefined, failures[2]])
      assert.deepEqual(guest.region.u8.slice(8192, 12_288), content.slice(8192, 12_288))
      assert.deepEqual(
        lines,
        failures.map((failure) => `x.qcow2: ${failure}`),
      )
    })
  })

  test(`when the server disconnects, requests in flight and later ones fail, with one log line: ${kind}`, {
    skip,
  }, async () => {
    await meet({ kind }, async ({ disk, server, lines }) => {
      let seen = 0
      server.onRequest = (request) => {
        // The second reply ends within its data.
        if (++seen === 2) {
          server.say(simpleReply(request.cookie, 0, new Uint8Array(100)))
          server.hangUp()
        }
      }
      const outcomes = await Promise.all([
        send(disk, { op: DiskOp.READ, length: 4096 }),
        send(disk, { op: DiskOp.READ, length: 4096 }),
        send(disk, { op: DiskOp.WRITE, length: 512 }),
        send(disk, { op: DiskOp.FLUSH }),
      ])
      const failure = 'connection to the image server lost (it closed the connection)'
      assert.deepEqual(outcomes, [failure, failure, failure, failure])
      assert.equal(await send(disk, { op: DiskOp.READ, length: 512 }), failure)
      assert.deepEqual(lines, [
        'x.qcow2: connection to the image server lost (it closed the connection): all requests fail',
      ])
      assert.equal(disk.inspect().requests, 0)
      await assert.rejects(disk.close(), {
        name: 'DiskError',
        message: /^x.qcow2: data that the guest wrote may be lost: /,
      })
    })
  })

  const invalidReplies: Readonly<
    Record<string, { answer: (request: ReceivedRequest) => Uint8Array; message: RegExp }>
  > = {
    'a wrong magic number': {
      answer: ({ cookie }) => simpleReply(cookie, 0, undefined, 0x668e_33ef),
      message: /reply with the magic number 0x668e33ef/,
    },
    'an unknown cookie': { answer: () => simpleReply(77n), message: /reply without a request/ },
    'a wrong generation': {
      answer: ({ cookie }) => simpleReply(cookie + (1n << 32n)),
      message: /reply without a request/,
    },
    'the same cookie twice': {
      answer: ({ cookie }) => Buffer.concat([simpleReply(cookie, 5), simpleReply(cookie, 5)]),
      message: /reply without a request/,
    },
    'more data than requested': {
      answer: ({ cookie, length }) => simpleReply(cookie, 0, new Uint8Array(length + 16)),
      message: /reply with the magic number 0x0/,
    },
  }
  for (const [what, { answer, message }] of Object.entries(invalidReplies)) {
    test(`a server that replies with ${what} is disconnected: ${kind}`, { skip }, async () => {
      await meet({ kind }, async ({ disk, server, lines }) => {
        server.onRequest = (request) => server.say(answer(request))
        guest.region.u8.fill(0x55, 1024, 8192)
        await send(disk, { op: DiskOp.READ, length: 1024 })
        await until('the invalid reply is logged', () => lines.length > 0)
        assert.match((await send(disk, { op: DiskOp.READ, length: 512 })) ?? '', message)
        assert.match(lines.at(-1) ?? '', /: connection to the image server lost \(/)
        assert.ok(
          guest.region.u8.subarray(1024, 8192).every((byte) => byte === 0x55),
          'guest memory was written',
        )
      })
    })
  }

  test(`a reply to a request that is not completely sent is invalid: ${kind}`, { skip }, async () => {
    await meet({ kind, byteLength: 16 * MIB, maxBytes: 16 * MIB }, async ({ disk, server, lines }) => {
      server.onRequest = (request) => {
        // The next request is longer than the socket buffer.
        server.pause()
        server.say(simpleReply(request.cookie))
        server.say(simpleReply((1n << 32n) | 1n))
      }
      const outcomes = await Promise.all([
        send(disk, { op: DiskOp.FLUSH }),
        send(disk, { op: DiskOp.WRITE, length: 16 * MIB }),
      ])
      assert.equal(outcomes[0], undefined)
      assert.match(outcomes[1] ?? '', /reply without a request/)
      assert.equal(lines.length, 1)
    })
  })

  test(`requests wait while the socket has no room, and replies are received meanwhile: ${kind}`, {
    skip,
  }, async () => {
    await meet({ kind, byteLength: 16 * MIB, maxBytes: MIB }, async ({ disk, server }) => {
      const content = new Uint8Array(16 * MIB)
      const requests = serve(server, content)
      guest.region.u8.set(pattern(16 * MIB, 9))
      server.pause()
      const writes = Array.from({ length: 16 }, (_, i) =>
        send(disk, { op: DiskOp.WRITE, offset: i * MIB, length: MIB, at: i * MIB, pieces: 4096 }),
      )
      await sleep(50)
      assert.equal(requests.length, 0)
      server.resume()
      for (const outcome of await Promise.all(writes)) assert.equal(outcome, undefined)
      assert.ok(Buffer.compare(content, guest.region.u8) === 0)
    })
  })

  test(`closing a disk flushes, then disconnects from the server: ${kind}`, { skip }, async () => {
    await meet({ kind }, async ({ disk, server }) => {
      const seen = serve(server, new Uint8Array(MIB))
      assert.equal(await send(disk, { op: DiskOp.WRITE, length: 512 }), undefined)
      return async () => {
        await disk.close()
        await disk.close()
        assert.equal(await send(disk, { op: DiskOp.READ, length: 512 }), 'the disk is closed')
        await until('the server receives the disconnect', () => seen.length === 3)
        assert.deepEqual(
          seen.map(({ type }) => type),
          [NbdCommand.WRITE, NbdCommand.FLUSH, NbdCommand.DISC],
        )
      }
    })
  })

  test(`close throws if its flush fails: ${kind}`, { skip }, async () => {
    await meet({ kind }, async ({ disk, server }) => {
      server.onRequest = ({ cookie }) => server.say(simpleReply(cookie, 5))
      return () =>
        assert.rejects(disk.close(), {
          name: 'DiskError',
          message: 'x.qcow2: data that the guest wrote may be lost: flush: EIO',
        })
    })
  })

  test(`a read-only export is a read-only disk, and is not flushed: ${kind}`, { skip }, async () => {
    await meet({ kind, flags: READABLE }, async ({ disk, server }) => {
      const requests = serve(server, new Uint8Array(MIB))
      assert.ok(disk.readOnly && !disk.canDiscard)
      assert.equal(await send(disk, { op: DiskOp.FLUSH }), undefined)
      return async () => {
        await disk.close()
        await until('the server receives the disconnect', () => requests.length === 1)
        assert.deepEqual(
          requests.map(({ type }) => type),
          [NbdCommand.DISC],
        )
      }
    })
  })

  test(`closed disks leave no open descriptor: ${kind}`, { skip }, async () => {
    const round = () =>
      meet({ kind }, async ({ disk, server }) => {
        serve(server, new Uint8Array(MIB))
        await send(disk, { op: DiskOp.READ, length: 512 })
      })
    await round()
    const before = readdirSync('/proc/self/fd').length
    for (let i = 0; i < 10; i++) await round()
    await until('no descriptors are left', () => readdirSync('/proc/self/fd').length <= before)
  })
}

/** Replies after a few requests, in another order, and in arbitrary pieces. */
function answerAnyhow(
  server: NbdServer,
  content: Uint8Array,
  order: Iterator<number>,
  tears: readonly number[],
): (request: ReceivedRequest) => void {
  const waiting: ReceivedRequest[] = []
  let scheduled = false
  const answer = (): void => {
    scheduled = false
    while (waiting.length > 0) {
      const [request] = waiting.splice(order.next().value % waiting.length, 1)
      let bytes: Uint8Array = simpleReply(request.cookie, 0, perform(content, request))
      for (const tear of tears) {
        server.say(bytes.subarray(0, tear))
        bytes = bytes.subarray(tear)
      }
      server.say(bytes)
    }
  }
  return (request) => {
    waiting.push({ ...request, data: request.data.slice() })
    if (!scheduled) setImmediate(answer)
    scheduled = true
  }
}
