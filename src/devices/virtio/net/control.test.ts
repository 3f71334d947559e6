import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { parseMacAddress } from './mac-address.ts'
import { NetDevice } from './net.ts'
import { CtrlAck, CtrlClass, CtrlMac, CtrlMq, CtrlRx, CtrlVlan, NetFeature } from './protocol.ts'
import { MAX_ADDRESSES } from './receive-filter.ts'
import { HeldPort } from './testing/held-port.ts'
import { BROADCAST, frame, header, NetDriver, STATION, STATION_TEXT } from './testing/net-driver.ts'

const { OK, ERR } = CtrlAck
const OTHER = [0x52, 0x54, 0, 0, 0, 9]
const GROUP = [0x01, 0x00, 0x5e, 0, 0, 1]

function rig(without: readonly number[] = [], options: ConstructorParameters<typeof HeldPort>[0] = {}) {
  const port = new HeldPort(options)
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const all = device.features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)
  const driver = new NetDriver(device, { features: all & ~featureSet(...without) })
  driver.post(new Array(40).fill(1600))
  /** True if a frame reaches the driver. */
  const passes = (destination: readonly number[], vlan?: number) => {
    const bytes = frame(60, 1, destination)
    if (vlan !== undefined) bytes.set([0x81, 0, vlan >> 8, vlan & 0xff], 12)
    port.arrive(bytes)
    return driver.received().length === 1
  }
  return { port, device, driver, passes }
}

function table(...lists: readonly (readonly (readonly number[])[])[]): number[] {
  return lists.flatMap((addresses) => [addresses.length & 0xff, addresses.length >> 8, 0, 0, ...addresses.flat()])
}

test('initially a driver receives frames to its address and broadcasts only  @virtio 5.1.6.5.2.1', () => {
  const { passes, device } = rig()
  assert.ok(passes(STATION))
  assert.ok(passes(BROADCAST))
  assert.ok(!passes(OTHER))
  assert.ok(!passes(GROUP))
  assert.equal(device.counters.received.filtered, 2)
})

test('without CTRL_RX or without MAC the driver receives every frame', () => {
  for (const without of [[NetFeature.CTRL_RX], [NetFeature.MAC]]) {
    const { passes } = rig(without)
    assert.ok(passes(OTHER))
    assert.ok(passes(GROUP))
  }
})

test('promiscuous mode accepts every frame, regardless of other modes  @virtio 5.1.6.5.1.1', () => {
  const { driver, passes } = rig()
  for (const mode of [CtrlRx.NOMULTI, CtrlRx.NOUNI, CtrlRx.NOBCAST, CtrlRx.PROMISC]) {
    assert.equal(driver.command(CtrlClass.RX, mode, [1]), OK)
  }
  for (const destination of [STATION, BROADCAST, OTHER, GROUP]) assert.ok(passes(destination))
  assert.ok(passes(OTHER, 7), 'a VLAN that was not added')
  driver.command(CtrlClass.RX, CtrlRx.PROMISC, [0])
  for (const destination of [STATION, BROADCAST, OTHER, GROUP]) assert.ok(!passes(destination))
})

test('each mode accepts or rejects its kind of address  @virtio 5.1.6.5.1.1', () => {
  const { driver, passes } = rig()
  const kinds = () => [STATION, OTHER, GROUP, BROADCAST].map((destination) => passes(destination))
  assert.deepEqual(kinds(), [true, false, false, true])
  driver.command(CtrlClass.RX, CtrlRx.ALLMULTI, [1])
  assert.deepEqual(kinds(), [true, false, true, true])
  driver.command(CtrlClass.RX, CtrlRx.ALLUNI, [1])
  assert.deepEqual(kinds(), [true, true, true, true])
  driver.command(CtrlClass.RX, CtrlRx.NOMULTI, [1])
  assert.deepEqual(kinds(), [true, true, false, true])
  driver.command(CtrlClass.RX, CtrlRx.NOUNI, [1])
  assert.deepEqual(kinds(), [false, false, false, true])
  driver.command(CtrlClass.RX, CtrlRx.NOBCAST, [1])
  assert.deepEqual(kinds(), [false, false, false, false])
  for (const mode of [CtrlRx.NOMULTI, CtrlRx.NOUNI, CtrlRx.NOBCAST]) driver.command(CtrlClass.RX, mode, [0])
  assert.deepEqual(kinds(), [true, true, true, true])
})

test('frames to addresses in the tables are accepted; a command replaces both tables  @virtio 5.1.6.5.2.1', () => {
  const { driver, passes } = rig()
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table([OTHER], [GROUP])), OK)
  assert.deepEqual([passes(OTHER), passes(GROUP), passes(STATION)], [true, true, true])
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table([], [GROUP])), OK)
  assert.deepEqual([passes(OTHER), passes(GROUP)], [false, true])
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table([]), table([])), OK, 'in two parts')
  assert.deepEqual([passes(OTHER), passes(GROUP)], [false, false])
})

test('a table with too many addresses accepts all frames of its kind  @virtio 5.1.6.5.2', () => {
  const { driver, passes } = rig()
  const many = Array.from({ length: MAX_ADDRESSES + 1 }, (_, i) => [2, 0, 0, 0, 0, i])
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table(many.slice(1), [])), OK)
  assert.ok(passes(many[MAX_ADDRESSES]))
  assert.ok(!passes(OTHER))
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table(many, [])), OK)
  assert.ok(passes(OTHER))
  assert.ok(!passes(GROUP))
})

test('a new MAC address is in the configuration space when the command completes  @virtio 5.1.6.5.2.1', () => {
  const { driver, device, passes } = rig()
  assert.equal(driver.command(CtrlClass.MAC, CtrlMac.ADDR_SET, OTHER), OK)
  assert.deepEqual(
    Array.from({ length: 6 }, (_, i) => device.config.read(i, 1)),
    OTHER,
  )
  assert.deepEqual([passes(OTHER), passes(STATION)], [true, false])
})

test('tagged frames are accepted if their VLAN was added, untagged ones always  @virtio 5.1.6.5.3.1', () => {
  const { driver, passes } = rig()
  assert.ok(!passes(STATION, 0))
  for (const id of [0, 1, 300, 4095]) {
    assert.equal(driver.command(CtrlClass.VLAN, CtrlVlan.ADD, [id & 0xff, id >> 8]), OK)
    assert.ok(passes(STATION, id))
    assert.ok(!passes(OTHER, id))
  }
  assert.ok(passes(STATION, 0xe000 | 300), 'the priority is not the VLAN')
  assert.equal(driver.command(CtrlClass.VLAN, CtrlVlan.DEL, [300 & 0xff, 300 >> 8]), OK)
  assert.deepEqual([passes(STATION, 300), passes(STATION, 1), passes(STATION)], [false, true, true])
})

test('without CTRL_VLAN every tagged frame is accepted  @virtio 5.1.6.5.3.1', () => {
  const { passes } = rig([NetFeature.CTRL_VLAN])
  assert.ok(passes(STATION, 300))
})

test('VQ_PAIRS_SET changes the number of pairs in use, up to all pairs of the port  @virtio 5.1.6.5.6.2', () => {
  const { port, driver } = rig([], { pairs: 3 })
  driver.post([200], 2)
  port.arrive(frame(60, 1), header(), 2)
  driver.send(frame(60, 2), header(), [], 2)
  assert.deepEqual([driver.received(2).length, port.sent.length], [0, 0])
  for (const pairs of [0, 4, 0x8000]) assert.equal(driver.command(CtrlClass.MQ, 0, [pairs & 0xff, pairs >> 8]), ERR)
  assert.equal(port.usedPairs, 1)
  assert.equal(driver.command(CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, [3, 0]), OK)
  assert.equal(port.usedPairs, 3)
  assert.deepEqual([driver.received(2).length, port.sent.map(({ pair }) => pair)], [1, [2]])
  assert.equal(driver.command(CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, [1, 0]), OK)
  driver.post([200], 2)
  port.arrive(frame(60, 1), header(), 2)
  assert.equal(driver.received(2).length, 0)
})

test('VQ_PAIRS_SET is refused if a queue is missing or the port refuses  @virtio 5.1.6.5.6.1', () => {
  const port = new HeldPort({ pairs: 3 })
  const driver = new NetDriver(new NetDevice(port), { disabled: [5] })
  assert.equal(driver.command(CtrlClass.MQ, 0, [3, 0]), ERR)
  port.unwilling = true
  assert.equal(driver.command(CtrlClass.MQ, 0, [2, 0]), ERR)
  port.unwilling = false
  assert.equal(driver.command(CtrlClass.MQ, 0, [2, 0]), OK)
})

test('without CTRL_VQ all pairs are in use, and nothing is filtered', () => {
  const port = new HeldPort({ pairs: 2 })
  const device = new NetDevice(port, { mac: STATION_TEXT })
  const driver = new NetDriver(device, { disabled: [4] })
  assert.equal(port.usedPairs, 2)
  driver.post([200], 1)
  port.arrive(frame(60, 1, OTHER), header(), 1)
  assert.equal(driver.received(1).length, 1)
  driver.send(frame(60, 2), header(), [], 1)
  assert.equal(port.sent[0].pair, 1)
})

test('without MQ the control queue is queue 2  @virtio 5.1.2', () => {
  const { driver } = rig([NetFeature.MQ], { pairs: 2 })
  assert.equal(driver.command(CtrlClass.RX, CtrlRx.PROMISC, [1]), OK)
  assert.equal(driver.command(CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, [1, 0]), ERR)
})

test('offloads that were not negotiated, or are invalid together, are refused  @virtio 5.1.6.5.8', () => {
  const { port, driver } = rig([NetFeature.GUEST_UFO, NetFeature.GUEST_USO6], { offloads: 127 })
  const set = (...bits: readonly number[]) => {
    const value = new DataView(new ArrayBuffer(8))
    value.setBigUint64(0, featureSet(...bits), true)
    return driver.command(CtrlClass.GUEST_OFFLOADS, 0, new Uint8Array(value.buffer))
  }
  const { GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, GUEST_UFO, GUEST_USO4, GUEST_USO6 } = NetFeature
  assert.equal(set(), OK)
  assert.equal(port.offloadsInUse, 0)
  assert.equal(set(GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, GUEST_ECN, GUEST_USO4), OK)
  assert.equal(port.offloadsInUse, 1 | 2 | 4 | 8 | 32)
  for (const bits of [[GUEST_TSO4], [GUEST_CSUM, GUEST_UFO], [GUEST_CSUM, GUEST_USO6], [0], [2], [63]]) {
    assert.equal(set(...bits), ERR)
  }
  assert.equal(port.offloadsInUse, 1 | 2 | 4 | 8 | 32)
  port.unwilling = true
  assert.equal(set(GUEST_CSUM), ERR)
})

const REFUSED: readonly (readonly [what: string, bytes: readonly number[]])[] = [
  ['an empty command', []],
  ['a class without a command', [CtrlClass.RX]],
  ['a mode without a value', [CtrlClass.RX, CtrlRx.PROMISC]],
  ['a mode of two bytes', [CtrlClass.RX, CtrlRx.PROMISC, 1, 0]],
  ['a mode value that is neither 0 nor 1', [CtrlClass.RX, CtrlRx.PROMISC, 2]],
  ['an unknown mode', [CtrlClass.RX, 6, 1]],
  ['TABLE_SET without tables', [CtrlClass.MAC, CtrlMac.TABLE_SET]],
  ['TABLE_SET with one table', [CtrlClass.MAC, CtrlMac.TABLE_SET, ...table([OTHER])]],
  ['a table longer than the command', [CtrlClass.MAC, CtrlMac.TABLE_SET, 2, 0, 0, 0, ...OTHER, 0, 0, 0, 0]],
  ['a table of four billion addresses', [CtrlClass.MAC, CtrlMac.TABLE_SET, 255, 255, 255, 255, ...OTHER]],
  ['an extra byte after the tables', [CtrlClass.MAC, CtrlMac.TABLE_SET, ...table([], []), 0]],
  ['a group address in the unicast table', [CtrlClass.MAC, CtrlMac.TABLE_SET, ...table([GROUP], [])]],
  ['a unicast address in the multicast table', [CtrlClass.MAC, CtrlMac.TABLE_SET, ...table([], [OTHER])]],
  ['an address of five bytes', [CtrlClass.MAC, CtrlMac.ADDR_SET, ...OTHER.slice(1)]],
  ['an address of seven bytes', [CtrlClass.MAC, CtrlMac.ADDR_SET, ...OTHER, 0]],
  ['ADDR_SET with a group address', [CtrlClass.MAC, CtrlMac.ADDR_SET, ...GROUP]],
  ['ADDR_SET with the zero address', [CtrlClass.MAC, CtrlMac.ADDR_SET, 0, 0, 0, 0, 0, 0]],
  ['an unknown MAC command', [CtrlClass.MAC, 2, ...OTHER]],
  ['a VLAN above 4095', [CtrlClass.VLAN, CtrlVlan.ADD, 0, 0x10]],
  ['a VLAN of one byte', [CtrlClass.VLAN, CtrlVlan.ADD, 1]],
  ['an unknown VLAN command', [CtrlClass.VLAN, 2, 1, 0]],
  ['an unknown ANNOUNCE command', [CtrlClass.ANNOUNCE, 1]],
  ['an acknowledgement with an extra byte', [CtrlClass.ANNOUNCE, 0, 0]],
  ['a number of pairs of one byte', [CtrlClass.MQ, CtrlMq.VQ_PAIRS_SET, 1]],
  ['RSS_CONFIG', [CtrlClass.MQ, CtrlMq.RSS_CONFIG, ...new Array(60).fill(0)]],
  ['HASH_CONFIG', [CtrlClass.MQ, CtrlMq.HASH_CONFIG, ...new Array(53).fill(0)]],
  ['an unknown GUEST_OFFLOADS command', [CtrlClass.GUEST_OFFLOADS, 1, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['offloads of four bytes', [CtrlClass.GUEST_OFFLOADS, 0, 0, 0, 0, 0]],
  ['NOTF_COAL', [CtrlClass.NOTF_COAL, 0, 1, 0, 0, 0, 1, 0, 0, 0]],
  ['HASH_TUNNEL', [CtrlClass.HASH_TUNNEL, 0, 0, 0, 0, 0]],
  ['STATS', [CtrlClass.STATS, 0]],
  ['RSS_CONTEXT', [CtrlClass.RSS_CONTEXT, 0]],
  ['an unknown class', [200, 0]],
  ['a command of 70,000 bytes', [CtrlClass.MAC, CtrlMac.TABLE_SET, 0, 0, 0, 0, ...new Array(70_000).fill(0)]],
]
for (const [what, bytes] of REFUSED) {
  test(`${what} is refused and changes nothing  @virtio 5.1.6.5`, () => {
    const { driver, device } = rig([], { pairs: 2, offloads: 127 })
    assert.equal(driver.command(CtrlClass.MAC, CtrlMac.TABLE_SET, table([OTHER], [GROUP])), OK)
    const before = JSON.stringify(device.inspect().filter)
    const reply = driver.rawCommand(bytes.length > 0 ? [bytes] : [], [1])
    assert.deepEqual([reply.written, reply.parts[0][0]], [1, ERR])
    assert.equal(JSON.stringify(device.inspect().filter), before)
    assert.deepEqual(parseMacAddress(device.inspect().address), Uint8Array.from(STATION))
    assert.equal(device.counters.refusedCommands, 1)
  })
}

test('a command whose feature was not negotiated is refused  @virtio 5.1.6.5', () => {
  const needs: readonly (readonly [feature: number, command: readonly number[]])[] = [
    [NetFeature.CTRL_RX, [CtrlClass.RX, CtrlRx.PROMISC, 1]],
    [NetFeature.CTRL_RX_EXTRA, [CtrlClass.RX, CtrlRx.NOUNI, 1]],
    [NetFeature.CTRL_RX, [CtrlClass.MAC, CtrlMac.TABLE_SET, ...table([], [])]],
    [NetFeature.CTRL_MAC_ADDR, [CtrlClass.MAC, CtrlMac.ADDR_SET, ...OTHER]],
    [NetFeature.CTRL_VLAN, [CtrlClass.VLAN, CtrlVlan.ADD, 1, 0]],
    [NetFeature.GUEST_ANNOUNCE, [CtrlClass.ANNOUNCE, 0]],
    [NetFeature.CTRL_GUEST_OFFLOADS, [CtrlClass.GUEST_OFFLOADS, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ]
  for (const [feature, command] of needs) {
    const { device, driver } = rig([feature], { offloads: 127 })
    assert.ok(hasFeature(device.features, feature))
    assert.equal(driver.rawCommand([command], [1]).parts[0][0], ERR)
    const agreed = rig([], { offloads: 127 })
    assert.equal(agreed.driver.rawCommand([command], [1]).parts[0][0], OK)
  }
})

test('a command without a byte for its ack is not executed, and the next one is', () => {
  const { driver, passes } = rig()
  assert.equal(driver.rawCommand([[CtrlClass.RX, CtrlRx.ALLUNI, 1]], []).written, 0)
  assert.ok(!passes(OTHER))
  assert.equal(driver.rawCommand([[CtrlClass.RX], [CtrlRx.ALLUNI], [1]], [0, 1, 7]).parts[1][0], OK)
  assert.ok(passes(OTHER))
})

test('random commands never break the device, and each is answered', () => {
  const command = fc.record({
    kind: fc.integer({ min: 0, max: 9 }),
    number: fc.integer({ min: 0, max: 6 }),
    data: fc.uint8Array({ maxLength: 40 }),
    cut: fc.nat(40),
  })
  fc.assert(
    fc.property(fc.array(command, { maxLength: 30 }), (commands) => {
      const { driver, passes } = rig([], { pairs: 2, offloads: 127 })
      for (const { kind, number, data, cut } of commands) {
        const bytes = Uint8Array.of(kind, number, ...data)
        const reply = driver.rawCommand([bytes.subarray(0, cut), bytes.subarray(cut)], [1])
        assert.ok(reply.parts[0][0] <= ERR)
      }
      assert.equal(driver.command(CtrlClass.RX, CtrlRx.PROMISC, [1]), OK)
      assert.ok(passes(OTHER))
      assert.deepEqual(driver.rig.failures, [])
    }),
    { numRuns: 100 },
  )
})
