import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../../host/linux/errno.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { encodeMessage } from './command-stream.ts'
import { MessageFlag, RegionIndex } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'
import { type VfioUserRig, versionRequest } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false
const NOTHING = new Uint8Array(0)
const { EINVAL, EOPNOTSUPP } = Errno

/** Sends a command as bytes. @returns the errno of the reply; 0 if it was accepted */
function send(rig: VfioUserRig, command: number, payload: Uint8Array): number | undefined {
  rig.client.raw(encodeMessage({ id: 7, command, flags: 0, error: 0 }, payload))
  const answer = rig.client.next()
  if (!answer) return undefined
  assert.equal(answer.id, 7)
  assert.equal((answer.flags & MessageFlag.ERROR) !== 0, answer.error !== 0)
  return answer.error
}

for (const [what, said] of [
  ['no capabilities', undefined],
  ['an empty object', '{}'],
  ['an empty object of capabilities', '{"capabilities":{}}'],
  ['unknown capabilities', '{"capabilities":{"max_msg_fds":8,"teleportation":true},"more":[1]}'],
] as const) {
  test(`VERSION is accepted with ${what}  @vfio-user VERSION`, { skip }, async () => {
    const rig = echoRig()
    const request = said === undefined ? { major: 0, minor: 1, bytes: NOTHING } : versionRequest(said, 0, 1)
    const { value } = rig.client.ask('VERSION', request)
    assert.deepEqual([value.major, value.minor], [0, 1])
    const { capabilities } = JSON.parse(new TextDecoder().decode(value.bytes.subarray(0, -1)))
    assert.equal(value.bytes.at(-1), 0)
    assert.equal(capabilities.max_data_xfer_size, 1 << 20)
    assert.equal(capabilities.write_multiple, undefined, 'only if the client proposed it')
    await rig.close()
  })
}

test('the negotiated version is the lower of both sides  @vfio-user VERSION', {
  skip,
}, async () => {
  for (const [proposed, agreed] of [
    [0, 0],
    [1, 1],
    [9, 1],
  ]) {
    const rig = echoRig()
    assert.equal(rig.client.ask('VERSION', versionRequest('{}', 0, proposed)).value.minor, agreed)
    await rig.close()
  }
})

for (const [what, request] of [
  ['another major version', versionRequest('{}', 1)],
  ['capabilities without NUL', { major: 0, minor: 0, bytes: new TextEncoder().encode('{}') }],
  ['half an object', versionRequest('{')],
  ['half a string', versionRequest('"')],
  ['no object', versionRequest('[]')],
  ['null', versionRequest('null')],
  ['capabilities that are text', versionRequest('{"capabilities":"23"}')],
  ['descriptors that are text', versionRequest('{"capabilities":{"max_msg_fds":"foo"}}')],
  ['a negative number of descriptors', versionRequest('{"capabilities":{"max_msg_fds":-1}}')],
  ['too many descriptors', versionRequest('{"capabilities":{"max_msg_fds":99999}}')],
  ['half a byte', versionRequest('{"capabilities":{"max_data_xfer_size":0.5}}')],
] as const) {
  test(`VERSION with ${what} is refused, and ends the connection  @vfio-user VERSION`, { skip }, async () => {
    const rig = echoRig()
    assert.equal(rig.client.refusal('VERSION', request), EINVAL)
    assert.equal(rig.client.ended, true)
    await rig.close()
  })
}

test('commands before VERSION are refused, and so is a second VERSION  @vfio-user VERSION', {
  skip,
}, async () => {
  for (const command of [2, 4, 9, 13, 15, 99]) {
    const rig = echoRig()
    assert.notEqual(send(rig, command, new Uint8Array(32)), 0)
    assert.equal(rig.client.ended, true)
    await rig.close()
  }
  const rig = echoRig()
  rig.greet()
  assert.equal(rig.client.refusal('VERSION', versionRequest()), EINVAL)
  assert.equal(rig.client.ended, false)
  await rig.close()
})

test('unsupported commands are refused, and the next command is served', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  // Undefined commands, commands to a client, and migration.
  for (const command of [0, 6, 11, 12, 14, 17, 18, 19, 0xffff]) assert.equal(send(rig, command, NOTHING), EOPNOTSUPP)
  rig.map()
  await rig.close()
})

test('a command of the wrong length is refused', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  for (const command of [2, 3, 4, 5, 7, 8, 9, 10, 15, 16]) {
    for (const length of [0, 1, 7]) assert.equal(send(rig, command, new Uint8Array(length)), EINVAL, `${command}`)
  }
  assert.equal(send(rig, 13, new Uint8Array(1)), EINVAL)
  await rig.close()
})

test('a command with a too small argsz or an invalid index is refused', { skip }, async () => {
  const rig = echoRig()
  const { client } = rig
  rig.greet()
  const tail = { flags: 0, bytes: NOTHING }
  assert.equal(client.refusal('DEVICE_GET_INFO', { ...tail, argsz: 15, regions: 0, irqs: 0 }), EINVAL)
  assert.equal(client.refusal('DEVICE_GET_IRQ_INFO', { ...tail, argsz: 8, index: 0, count: 0 }), EINVAL)
  const region = { ...tail, index: 0, capOffset: 0, size: 0, offset: 0 }
  assert.equal(client.refusal('DEVICE_GET_REGION_INFO', { ...region, argsz: 31 }), EINVAL)
  assert.equal(client.refusal('DEVICE_GET_REGION_INFO', { ...region, argsz: 32, index: 9 }), EINVAL)
  assert.equal(client.refusal('DEVICE_GET_IRQ_INFO', { ...tail, argsz: 16, index: 5, count: 0 }), EINVAL)
  assert.equal(client.ask('DEVICE_GET_INFO', { ...tail, argsz: 99, regions: 0, irqs: 0 }).value.argsz, 16)
  await rig.close()
})

test('regions are read and written with any length, but not past the end  @vfio-user REGION_READ', {
  skip,
}, async () => {
  const rig = echoRig()
  const { client } = rig
  await rig.start()
  const read = (region: number, offset: number, count: number) => client.ask('REGION_READ', { region, offset, count })
  const whole = read(RegionIndex.CONFIG, 0, 256).value.bytes
  assert.equal(whole.length, 256)
  for (const [offset, count] of [
    [0, 8],
    [1, 7],
    [3, 5],
    [255, 1],
    [13, 0],
  ]) {
    assert.deepEqual(read(RegionIndex.CONFIG, offset, count).value.bytes, whole.slice(offset, offset + count))
  }
  // Device configuration: 12 bytes on separate pages.
  const data = Uint8Array.from({ length: 12 }, (_, i) => i + 1)
  client.ask('REGION_WRITE', { region: 0, offset: 0x2000, count: 12, bytes: data })
  assert.deepEqual(read(0, 0x2000, 12).value.bytes, data)
  assert.deepEqual(read(0, 0x2001, 9).value.bytes, data.slice(1, 10))
  for (const [region, offset, count] of [
    [0, 0x4000, 1],
    [0, 0x3fff, 2],
    [0, 2 ** 40, 4],
    [2, 0, 4],
    [RegionIndex.CONFIG, 255, 2],
    [RegionIndex.ROM, 0, 1],
    [RegionIndex.VGA, 0, 1],
    [0xffff_ffff, 0, 1],
    [0, 0, 0xffff_ffff],
  ]) {
    assert.equal(client.refusal('REGION_READ', { region, offset, count }), EINVAL)
  }
  assert.equal(
    client.refusal('REGION_WRITE', { region: 0, offset: 0x3fff, count: 2, bytes: new Uint8Array(2) }),
    EINVAL,
  )
  await rig.close()
})

test('REGION_WRITE_MULTI makes all its writes in order, or none  @vfio-user REGION_WRITE_MULTI', {
  skip,
}, async () => {
  const rig = echoRig()
  await rig.start()
  const write = (offset: number, count: number, data: bigint) => ({ region: 0, offset, count, data })
  const writes = [write(0x2000, 4, 1n), write(0x2000, 1, 2n), write(0x2004, 8, 0x0102_0304_0506_0708n)]
  assert.equal(rig.client.ask('REGION_WRITE_MULTI', { count: 3, elements: writes }).value.count, 3)
  const read = () => [...rig.client.ask('REGION_READ', { region: 0, offset: 0x2000, count: 12 }).value.bytes]
  assert.deepEqual(read(), [2, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1])
  for (const bad of [write(0x2000, 9, 0n), write(0x4000, 1, 0n)]) {
    assert.equal(rig.client.refusal('REGION_WRITE_MULTI', { count: 2, elements: [write(0x2000, 4, 9n), bad] }), EINVAL)
  }
  assert.equal(read()[0], 2)
  await rig.close()
})

test('a command with NO_REPLY is not answered, even if it is refused  @vfio-user Header', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  const bytes = Uint8Array.of(6, 4)
  rig.client.send('REGION_WRITE', { region: RegionIndex.CONFIG, offset: 4, count: 2, bytes }, [], MessageFlag.NO_REPLY)
  rig.client.send('DMA_UNMAP', { argsz: 24, flags: 0, address: 0, size: 4096 }, [], MessageFlag.NO_REPLY)
  rig.client.send('DMA_MAP', { argsz: 32, flags: 3, offset: 0, address: 0, size: 4096 }, [], MessageFlag.NO_REPLY)
  const { value } = rig.client.ask('REGION_READ', { region: RegionIndex.CONFIG, offset: 4, count: 2 })
  assert.deepEqual([...value.bytes], [6, 4])
  assert.equal(rig.logged.filter((line) => /DMA_UNMAP refused: nothing is mapped/.test(line)).length, 1)
  await rig.close()
})

test('DEVICE_RESET is answered when the requests in flight are complete  @vfio-user DEVICE_RESET', {
  skip,
}, async () => {
  const device = new EchoDevice({ slow: true })
  const rig = echoRig(device)
  await rig.start()
  rig.send(0, [1])
  assert.equal(device.kept.length, 1)
  rig.client.send('DEVICE_RESET', undefined)
  rig.reactor.turn()
  assert.equal(rig.client.next(), undefined, 'a request is in flight')
  device.answer()
  await rig.reactor.idle()
  assert.equal(rig.client.next()?.command, 13)
  assert.equal(device.session, undefined)
  assert.equal(rig.client.ask('REGION_READ', { region: RegionIndex.CONFIG, offset: 4, count: 2 }).value.bytes[0], 0)
  await rig.close()
})

test('a device works without addresses in its BARs', { skip }, async () => {
  const rig = echoRig()
  const driver = rig.plug()
  for (let bar = 0; bar < 6; bar++) driver.pci.configWrite(0x10 + 4 * bar, 4, 0)
  await driver.start(featureSet(Feature.RING_PACKED))
  assert.deepEqual(rig.echo(0, [1, 2]), [1, 2])
  await rig.close()
})
