import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { NetDevice } from '../../devices/virtio/net/net.ts'
import { NetStatus } from '../../devices/virtio/net/protocol.ts'
import { frame, NetDriver, STATION_TEXT } from '../../devices/virtio/net/testing/net-driver.ts'
import { createReactor } from '../../host/linux/reactor/create-reactor.ts'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import { KINDS } from '../../host/linux/reactor/testing/kinds.ts'
import { UnixListener } from '../../host/linux/unix-listener.ts'
import { END, type UnixStream } from '../../host/linux/unix-stream.ts'
import type { PortListener } from '../../services/network-port.ts'
import { MAX_FRAME_BYTES } from '../../services/packet.ts'
import { PasstPort } from './passt-port.ts'
import { PacketRoom, packetOf } from './testing/packets.ts'

/** Other end of the stream, in the role of passt. */
class Peer {
  readonly #listener: UnixListener
  #stream: UnixStream | undefined
  #bytes = new Uint8Array(0)

  constructor(readonly path: string) {
    this.#listener = UnixListener.listen(path)
  }

  get fd(): number {
    return this.#listener.fd
  }

  accept(): boolean {
    this.#stream = this.#listener.accept() ?? this.#stream
    return this.#stream !== undefined
  }

  get stream(): UnixStream {
    assert.ok(this.#stream, 'no client is connected')
    return this.#stream
  }

  send(...frames: readonly Uint8Array[]): void {
    for (const bytes of frames) this.stream.send(framed(bytes))
  }

  /** Returns the complete frames that were received. */
  receive(): Uint8Array[] {
    for (let got = this.stream.receive(); got !== undefined && got !== END; got = this.stream.receive()) {
      this.#bytes = new Uint8Array(Buffer.concat([this.#bytes, got.bytes]))
    }
    const frames: Uint8Array[] = []
    while (this.#bytes.length >= 4) {
      const length = new DataView(this.#bytes.buffer).getUint32(0)
      if (this.#bytes.length < 4 + length) break
      frames.push(this.#bytes.slice(4, 4 + length))
      this.#bytes = this.#bytes.slice(4 + length)
    }
    return frames
  }

  hangUp(): void {
    this.stream.close()
    this.#stream = undefined
    this.#bytes = new Uint8Array(0)
  }

  close(): void {
    this.#stream?.close()
    this.#listener.close()
  }
}

function framed(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(4 + bytes.length)
  new DataView(whole.buffer).setUint32(0, bytes.length)
  whole.set(bytes, 4)
  return whole
}

/** Listener that counts the calls of a port. */
class RecordingListener implements PortListener {
  readable_ = 0
  writable_ = 0
  links: boolean[] = []
  port: PasstPort | undefined
  onChange = () => {}

  readable(): void {
    this.readable_++
    this.onChange()
  }

  writable(): void {
    this.writable_++
    this.onChange()
  }

  linkChanged(): void {
    this.links.push(this.port?.linkUp ?? false)
    this.onChange()
  }
}

for (const { kind, skip } of KINDS) {
  const withPort = (
    name: string,
    body: (port: PasstPort, peer: Peer, reactor: Reactor, listener: RecordingListener) => void | Promise<void>,
  ) => {
    test(`${name}: ${kind}`, { skip }, async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'passt-port-'))
      const reactor = createReactor({ prefer: kind })
      const peer = new Peer(path.join(folder, 'passt.sock'))
      const port = PasstPort.connect({ path: peer.path }, reactor)
      const listener = new RecordingListener()
      listener.port = port
      port.attach(listener)
      assert.ok(peer.accept())
      try {
        await body(port, peer, reactor, listener)
      } finally {
        port.close()
        peer.close()
        reactor.close()
        rmSync(folder, { recursive: true })
      }
    })
  }

  withPort('frames are sent with their lengths first, whatever their spans are', (port, peer) => {
    assert.ok(port.linkUp)
    const sent = [frame(14, 1), frame(60, 2), frame(1514, 3), frame(MAX_FRAME_BYTES, 4)]
    for (const bytes of sent) assert.ok(port.transmit(0, packetOf(bytes, [1, 13, 700])))
    assert.deepEqual(peer.receive(), sent)
    assert.equal(port.counters.sent, 4)
  })

  withPort('received frames follow an empty header', (port, peer) => {
    const room = new PacketRoom()
    const sent = [frame(14, 1), frame(60, 2), frame(1514, 3), frame(MAX_FRAME_BYTES, 4), new Uint8Array(0)]
    peer.send(...sent)
    room.packet.regions[0].u8.fill(0xee)
    for (const bytes of sent) {
      const length = port.receive(0, room.packet)
      assert.equal(length, 12 + bytes.length)
      assert.deepEqual(room.frame(length), bytes)
      assert.deepEqual(room.header, new Uint8Array(12))
    }
    assert.equal(port.receive(0, room.packet), 0)
  })

  withPort('a frame that arrives in parts is received when it is complete', (port, peer) => {
    const room = new PacketRoom()
    const bytes = framed(frame(70, 1))
    for (let i = 0; i < bytes.length; i++) {
      assert.equal(port.receive(0, room.packet), 0)
      peer.stream.send(bytes.subarray(i, i + 1))
    }
    const length = port.receive(0, room.packet)
    assert.deepEqual(room.frame(length), frame(70, 1))
  })

  withPort('many frames of any length pass through one buffer', (port, peer) => {
    const room = new PacketRoom()
    const lengths = Array.from({ length: 300 }, (_, i) => 14 + ((i * 7919) % 9000))
    let next = 0
    for (const length of lengths) {
      peer.send(frame(length, next & 0xff))
      if (++next % 7 !== 0) continue
      for (let i = next - 7; i < next; i++) {
        const got = port.receive(0, room.packet)
        assert.deepEqual(room.frame(got), frame(lengths[i], i & 0xff))
      }
    }
  })

  withPort(
    'packets wait while the peer takes none, and a partly sent frame is completed first',
    async (port, peer, reactor, listener) => {
      const sent: Uint8Array[] = []
      for (let seed = 0; ; seed++) {
        const bytes = frame(20_000, seed & 0xff)
        if (!port.transmit(0, packetOf(bytes, [5000]))) break
        sent.push(bytes)
      }
      assert.ok(sent.length > 2)
      assert.ok(!port.transmit(0, packetOf(frame(60, 1))))
      const got = peer.receive()
      listener.onChange = () => reactor.stop()
      await reactor.run()
      assert.equal(listener.writable_, 1)
      assert.ok(port.transmit(0, packetOf(frame(60, 9))))
      got.push(...peer.receive())
      assert.deepEqual(got, [...sent, frame(60, 9)])
      assert.equal(listener.readable_, 0)
    },
  )

  withPort('readable is called once after each expect', async (port, peer, reactor, listener) => {
    peer.send(frame(60, 1), frame(60, 2))
    reactor.timer(5, () => reactor.stop())
    await reactor.run()
    assert.equal(listener.readable_, 0, 'without expect')
    port.expect()
    reactor.timer(5, () => reactor.stop())
    await reactor.run()
    assert.equal(listener.readable_, 1)
    port.receive(0, new PacketRoom().packet)
    // The second frame was already read from the socket.
    port.expect()
    port.expect()
    assert.equal(listener.readable_, 1, 'not within the call')
    reactor.timer(5, () => reactor.stop())
    await reactor.run()
    assert.equal(listener.readable_, 2)
  })

  withPort(
    'the link goes down when the peer disconnects, and up when it returns',
    async (port, peer, reactor, listener) => {
      port.expect()
      peer.stream.send(framed(frame(60, 1)).subarray(0, 30))
      assert.equal(port.receive(0, new PacketRoom().packet), 0)
      peer.hangUp()
      listener.onChange = () => {
        if (listener.readable_ > 0) assert.equal(port.receive(0, new PacketRoom().packet), 0)
        if (listener.links.length === 2) reactor.stop()
      }
      await reactor.run()
      assert.deepEqual(listener.links, [false, true])
      assert.ok(peer.accept())
      // The incomplete frame was dropped.
      peer.send(frame(60, 2))
      const room = new PacketRoom()
      assert.deepEqual(room.frame(port.receive(0, room.packet)), frame(60, 2))
      assert.equal(port.counters.connections, 2)
    },
  )

  withPort('packets sent while the peer is disconnected are dropped', (port, peer, _reactor, listener) => {
    peer.hangUp()
    assert.ok(port.transmit(0, packetOf(frame(60, 1))))
    assert.ok(port.transmit(0, packetOf(frame(60, 1))))
    assert.deepEqual(listener.links, [false])
    port.expect()
    assert.equal(port.receive(0, new PacketRoom().packet), 0)
  })

  withPort(
    'an invalid frame length closes the connection, because the start of the next frame is unknown',
    (port, peer, _reactor, listener) => {
      peer.send(frame(60, 1))
      peer.stream.send(Uint8Array.of(0, 1, 0, 0x60))
      const room = new PacketRoom()
      assert.equal(port.receive(0, room.packet), 72)
      assert.equal(port.receive(0, room.packet), 0)
      assert.deepEqual(listener.links, [false])
      assert.equal(port.inspect()['lastError'], 'it sent a frame of 65632 bytes, more than 65593')
    },
  )

  withPort(
    'with a device, frames pass between driver and peer, and the driver sees the link state',
    async (port, peer, reactor) => {
      const device = new NetDevice(port, { mac: STATION_TEXT })
      const driver = new NetDriver(device)
      driver.post(new Array(8).fill(300))
      driver.send(frame(900, 1))
      assert.deepEqual(peer.receive(), [frame(900, 1)])
      peer.send(frame(700, 2), frame(100, 3))
      reactor.timer(10, () => reactor.stop())
      await reactor.run()
      assert.deepEqual(
        driver.received().map((packet) => packet.frame),
        [frame(700, 2), frame(100, 3)],
      )
      peer.hangUp()
      reactor.timer(10, () => reactor.stop())
      await reactor.run()
      assert.equal(device.config.read(6, 2), 0)
      reactor.timer(500, () => reactor.stop())
      await reactor.run()
      assert.equal(device.config.read(6, 2), NetStatus.LINK_UP)
      assert.ok(peer.accept())
      peer.send(frame(80, 4))
      reactor.timer(10, () => reactor.stop())
      await reactor.run()
      assert.deepEqual(driver.received()[0].frame, frame(80, 4))
    },
  )

  test(`a peer that listens later is connected, and a thousand connections leave no descriptor: ${kind}`, {
    skip,
  }, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'passt-port-'))
    const reactor = createReactor({ prefer: kind })
    const before = readdirSync('/proc/self/fd').length
    const lines: string[] = []
    const socket = path.join(folder, 'passt.sock')
    const port = PasstPort.connect({ path: socket, log: (line) => lines.push(line) }, reactor)
    const listener = new RecordingListener()
    listener.port = port
    port.attach(listener)
    assert.ok(!port.linkUp)
    const peer = new Peer(socket)
    listener.onChange = () => reactor.stop()
    await reactor.run()
    assert.ok(port.linkUp)
    assert.match(lines[0], /ENOENT/)
    assert.match(lines[1], /^connected to /)
    peer.accept()
    peer.hangUp()
    port.close()
    for (let i = 0; i < 1000; i++) {
      const again = PasstPort.connect({ path: socket }, reactor)
      peer.accept()
      peer.hangUp()
      again.attach(new RecordingListener())
      again.expect()
      again.close()
    }
    peer.close()
    assert.equal(readdirSync('/proc/self/fd').length, before)
    reactor.close()
    rmSync(folder, { recursive: true })
  })
}
