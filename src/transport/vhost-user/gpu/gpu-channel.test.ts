import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../../host/linux/ffi.ts'
import { socketPair, type UnixStream } from '../../../host/linux/unix-stream.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { HandReactor } from '../../socket/testing/hand-reactor.ts'
import { openDescriptors } from '../../socket/testing/open-descriptors.ts'
import { type DisplayInfo, GpuChannel } from './gpu-channel.ts'
import { GpuFrontEnd } from './testing/gpu-front-end.ts'

const skip = ffiMissing() ?? false

interface Rig {
  readonly reactor: HandReactor
  readonly channel: GpuChannel
  readonly frontEnd: GpuFrontEnd
  /** Reasons of all calls of `onEnd`, in order. */
  readonly ends: (string | undefined)[]
  /** Takes turns until no message is pending. */
  settle(): void
}

function rig(prepare: (frontEnd: GpuFrontEnd) => void = () => {}): Rig {
  const [ours, theirs]: [UnixStream, UnixStream] = socketPair('pictures')
  const reactor = new HandReactor()
  const frontEnd = new GpuFrontEnd(ours)
  prepare(frontEnd)
  const ends: (string | undefined)[] = []
  const channel = new GpuChannel(theirs, reactor, (reason) => ends.push(reason))
  return {
    ...{ reactor, channel, frontEnd, ends },
    settle() {
      for (let calm = 0; calm < 4; calm++) {
        if (frontEnd.receive() > 0) calm = 0
        reactor.turn()
      }
    },
  }
}

/** Returns pixels whose words contain their coordinates: one span a row, `gap` bytes apart. */
function pixels(width: number, height: number, gap: number): SpanList {
  const stride = width * 4 + gap
  const bytes = new Uint8Array(stride * height)
  const view = new DataView(bytes.buffer)
  const spans = new SpanList()
  const region = MemoryRegion.over(0, bytes)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) view.setUint32(y * stride + x * 4, y * 0x1_0000 + x, true)
    spans.add(region, y * stride, width * 4)
  }
  return spans
}

test('EDID is negotiated if the front-end offers it, and DMABUF2 never', { skip }, () => {
  for (const [features, agreed] of [
    [0b11n, 0b01n],
    [0b10n, 0n],
    [0n, 0n],
  ]) {
    const { channel, frontEnd, settle } = rig((one) => {
      one.features = features
    })
    settle()
    assert.deepEqual(frontEnd.requests, [1, 2])
    assert.equal(frontEnd.agreed, agreed)
    channel.close()
    frontEnd.close()
  }
})

test('askDisplays requests sizes, and the EDID of each enabled scanout', { skip }, () => {
  const { channel, frontEnd, settle } = rig((one) => {
    one.sizes.push(undefined, { width: 640, height: 480 })
  })
  const answers: (readonly (DisplayInfo | undefined)[])[] = []
  channel.askDisplays((displays) => answers.push(displays))
  settle()
  assert.equal(answers.length, 1)
  const [displays] = answers
  assert.equal(displays.length, 16)
  assert.deepEqual([displays[0]?.width, displays[0]?.height], [1280, 800])
  assert.deepEqual(displays[0]?.edid, new Uint8Array(256).fill(1))
  assert.equal(displays[1], undefined)
  assert.deepEqual(displays[2], { width: 640, height: 480, edid: new Uint8Array(256).fill(3) })
  channel.close()
  frontEnd.close()
})

test('askDisplays requests no EDID without the feature or for a disabled scanout', { skip }, () => {
  for (const [features, size] of [
    [0n, { width: 800, height: 600 }],
    [1n, undefined],
  ] as const) {
    const { channel, frontEnd, settle } = rig((one) => {
      one.features = features
      one.sizes[0] = size
    })
    const answers: unknown[] = []
    channel.askDisplays((displays) => answers.push(displays[0]))
    settle()
    assert.deepEqual(answers, [size])
    assert.ok(!frontEnd.requests.includes(11))
    channel.close()
    frontEnd.close()
  }
})

test('an update contains the exact pixels, from any memory', { skip }, () => {
  const { channel, frontEnd, settle } = rig()
  channel.send('SCANOUT', { scanout: 1, width: 32, height: 16 })
  channel.update(1, { x: 3, y: 2, width: 8, height: 5 }, pixels(8, 5, 12))
  settle()
  const shown = frontEnd.scanouts[1]
  assert.ok(shown)
  for (let y = 0; y < 16; y++) {
    for (let x = 0; x < 32; x++) {
      const inside = x >= 3 && x < 11 && y >= 2 && y < 7
      assert.equal(shown.pixels[y * 32 + x], inside ? (y - 2) * 0x1_0000 + (x - 3) : 0xffff_ffff)
    }
  }
  channel.close()
  frontEnd.close()
})

test('a front-end that does not read does not block the device, and receives the rest when it reads', { skip }, () => {
  const { channel, frontEnd, reactor, settle } = rig()
  settle()
  const [width, height] = [1024, 1500]
  channel.send('SCANOUT', { scanout: 0, width, height })
  const picture = pixels(width, height, 4)
  channel.update(0, { x: 0, y: 0, width, height }, picture)
  assert.ok(channel.busy)
  for (let i = 0; i < 10; i++) reactor.turn()
  assert.ok(channel.busy)
  assert.ok(channel.stalls > 0)
  // Messages sent meanwhile follow the update.
  channel.send('CURSOR_POS', { scanout: 0, x: -5, y: 7 })
  // Pixels are read when the socket has room, with what the guest drew until then.
  const last = picture.offsets[height - 1]
  picture.regions[0].u8.fill(0xab, last, last + width * 4)
  settle()
  assert.ok(!channel.busy)
  const shown = frontEnd.scanouts[0]
  assert.ok(shown)
  for (let y = 0; y < height - 1; y++) {
    assert.deepEqual([shown.pixels[y * width], shown.pixels[y * width + 1023]], [y * 0x1_0000, y * 0x1_0000 + 1023])
  }
  assert.ok(shown.pixels.subarray((height - 1) * width).every((word) => word === 0xabab_abab))
  assert.deepEqual([frontEnd.cursors[0]?.x, frontEnd.cursors[0]?.y], [-5, 7])
  channel.close()
  frontEnd.close()
})

test('a front-end that closes the socket is reported once, without a reason', { skip }, () => {
  const { channel, frontEnd, ends, settle } = rig()
  settle()
  frontEnd.close()
  channel.send('CURSOR_POS', { scanout: 0, x: 0, y: 0 })
  channel.send('CURSOR_POS', { scanout: 0, x: 0, y: 0 })
  channel.askDisplays(() => assert.fail('the channel is closed'))
  channel.update(0, { x: 0, y: 0, width: 1, height: 1 }, pixels(1, 1, 0))
  assert.deepEqual(ends, [undefined])
  channel.close()
})

test('unexpected and invalid replies end the channel', { skip }, () => {
  const cases: [RegExp, (frontEnd: GpuFrontEnd) => void][] = [
    [/message 3 is not a reply to any request/, (one) => one.reply(3, new Uint8Array(408))],
    [/message 1 is not a reply to any request/, (one) => one.reply(1, new Uint8Array(8), 0)],
    [/7 bytes instead of 8/, (one) => one.reply(1, new Uint8Array(7))],
    [/invalid payload size 5000/, (one) => one.reply(1, new Uint8Array(5000))],
    [/invalid message version 1/, (one) => one.reply(1, new Uint8Array(8), 5)],
  ]
  for (const [message, act] of cases) {
    const { frontEnd, ends, settle } = rig((one) => {
      one.answers = false
    })
    act(frontEnd)
    settle()
    assert.equal(ends.length, 1)
    assert.match(ends[0] ?? '', message)
    assert.ok(frontEnd.ended)
    frontEnd.close()
  }
})

test('an EDID of invalid size is left out', { skip }, () => {
  for (const size of [0, 127, 129, 1152, 0xffff_ff80]) {
    const { channel, frontEnd, settle } = rig((one) => {
      one.answers = false
    })
    const answers: (readonly (DisplayInfo | undefined)[])[] = []
    channel.askDisplays((displays) => answers.push(displays))
    frontEnd.reply(1, new Uint8Array(BigUint64Array.of(1n).buffer))
    const info = new Uint32Array(102)
    info.set([0, 0, 640, 480, 1, 0], 6)
    frontEnd.reply(3, new Uint8Array(info.buffer))
    const edid = new Uint32Array(264)
    edid[6] = size
    frontEnd.reply(11, new Uint8Array(edid.buffer))
    settle()
    assert.deepEqual(answers[0]?.[0], { width: 640, height: 480 })
    channel.close()
    frontEnd.close()
  }
})

test('too many unanswered requests end the channel', { skip }, () => {
  const { channel, frontEnd, ends, settle } = rig((one) => {
    one.answers = false
  })
  for (let i = 0; i < 100; i++) channel.askDisplays(() => {})
  settle()
  assert.deepEqual(ends, ['the front-end sends no replies'])
  frontEnd.close()
})

test('a closed channel leaves no open descriptor and no watch', { skip }, () => {
  const before = openDescriptors()
  for (let i = 0; i < 50; i++) {
    const { channel, frontEnd, reactor, settle } = rig()
    settle()
    channel.close()
    channel.close()
    frontEnd.close()
    assert.equal(reactor.watches, 0)
  }
  assert.deepEqual(openDescriptors(), before)
})
