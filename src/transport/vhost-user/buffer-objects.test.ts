import assert from 'node:assert/strict'
import { fstatSync } from 'node:fs'
import { test } from 'node:test'
import { DmaBufMemory } from '../../backends/buffers/buffer-memory.ts'
import { type BufferListener, GuestBuffer } from '../../backends/buffers/guest-buffer.ts'
import { GuestBuffers } from '../../backends/buffers/guest-buffers.ts'
import { GpuCommand, GpuResponse } from '../../devices/virtio/gpu/protocol.ts'
import { GpuRig } from '../../devices/virtio/gpu/testing/gpu-rig.ts'
import { Descriptor } from '../../host/linux/descriptor.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'
import { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { uuidText } from '../../log/uuid-text.ts'
import { activateDevice } from '../../virtio/testing/device-rig.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { BufferObjects } from './buffer-objects.ts'
import { BackEndMessage } from './messages.ts'
import { OtherChannel } from './testing/other-channel.ts'
import { VhostUserRig } from './testing/vhost-user-rig.ts'

const skip = ffiMissing() ?? false
const NO_DRIVER = '/dev/there-is-no-udmabuf'
const RGBX = 2

const UUID = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i)

/** One buffer of kind dma-buf that is a plain file: the exchange does not check it. */
class OneBuffer implements Pick<GuestBuffers, 'buffers' | 'find' | 'watch'> {
  readonly file = MemoryFile.create('a dma-buf', 4096)
  readonly buffer: GuestBuffer
  readonly #listeners = new Set<BufferListener>()

  constructor() {
    const each = (tell: (listener: BufferListener) => void): void => this.#listeners.forEach(tell)
    this.buffer = new GuestBuffer(
      { name: 'resource 7', reason: '', problem: undefined, owner: 'guest', spans: 1, pieces: 1, keepsPages: true },
      new DmaBufMemory(DmaBuf.fromDescriptor(this.file.descriptor), assert.fail),
      {
        named: (buffer) => each((listener) => listener.named?.(buffer)),
        described() {},
        presented() {},
        removed: (buffer) => each((listener) => listener.removed?.(buffer)),
        closed() {},
      },
    )
  }

  get buffers(): GuestBuffer[] {
    return this.buffer.removed ? [] : [this.buffer]
  }

  find(uuid: Uint8Array): GuestBuffer | undefined {
    return this.buffers.find((buffer) => buffer.uuid && uuidText(buffer.uuid) === uuidText(uuid))
  }

  watch(listener: BufferListener): Closable {
    this.#listeners.add(listener)
    return { close: () => void this.#listeners.delete(listener) }
  }
}

test('a buffer is announced from the assignment of its name until the guest releases it', {
  skip,
}, async () => {
  const before = openDescriptors()
  const buffers = new OneBuffer()
  const { ino } = fstatSync(buffers.file.descriptor.fd)
  const rig = new VhostUserRig(new EchoDevice(), { objects: new BufferObjects(buffers, assert.fail) })
  rig.negotiate()
  const channel = new OtherChannel(rig)
  assert.equal(channel.next(), undefined, 'it has no name')
  for (let time = 0; time < 2; time++) buffers.buffer.assignUuid(UUID)
  const added = channel.next()
  assert.equal(added?.request, BackEndMessage.SHARED_OBJECT_ADD.id)
  assert.deepEqual(added.payload, UUID)
  assert.equal(channel.next(), undefined, 'announced once')
  const [given] = rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: UUID }).descriptors
  buffers.buffer.close()
  assert.equal(channel.next()?.request, BackEndMessage.SHARED_OBJECT_REMOVE.id)
  assert.equal(rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: UUID }).descriptors.length, 0)
  assert.equal(fstatSync(given.fd).ino, ino, 'a received descriptor stays valid')
  given.close()
  channel.close()
  await rig.close()
  assert.equal(openDescriptors(), before)
})

test('a buffer that is not a dma-buf is neither announced nor passed on, and the reason is logged', {
  skip,
}, async () => {
  const logged: string[] = []
  const buffers = GuestBuffers.open({ device: NO_DRIVER })
  const objects = new BufferObjects(buffers, (line) => logged.push(line))
  const gpu = new GpuRig({ sharing: buffers })
  const rig = new VhostUserRig(new EchoDevice(), { objects })
  rig.negotiate()
  const channel = new OtherChannel(rig)
  const uuids = [1, 2].map((id) => {
    gpu.create2d(id, RGBX, 64, 64)
    return gpu.control(GpuCommand.RESOURCE_ASSIGN_UUID, [id, 0]).payload
  })
  assert.equal(channel.next(), undefined)
  assert.equal(rig.frontEnd.ask('GET_SHARED_OBJECT', { uuid: uuids[0] }).descriptors.length, 0)
  const why = 'not a dma-buf, so other processes cannot import it: there is no /dev/there-is-no-udmabuf: '
  assert.equal(logged.length, 1, 'each reason once')
  assert.ok(logged[0].includes(`${uuidText(uuids[0])}, is ${why}`), logged[0])
  assert.ok(rig.logged[0].includes(`GET_SHARED_OBJECT refused: ${uuidText(uuids[0])}: ${why}`), rig.logged[0])
  channel.close()
  await rig.close()
  buffers.close()
})

/** Device that answers a request with the name of a buffer by the bytes of that buffer. */
class Peeping extends EchoDevice {
  constructor(private readonly buffers: GuestBuffers) {
    super()
  }

  override notify(index: number): void {
    const queue = this.session?.queues[index]
    for (let chain = queue?.pop(); queue && chain; chain = queue.pop()) {
      const uuid = new Uint8Array(16)
      chain.reader.read(uuid)
      const buffer = this.buffers.find(uuid)
      buffer?.beginRead()
      queue.push(chain, buffer ? chain.writer.write(buffer.bytes.slice(0, chain.writer.remaining)) : 0)
      buffer?.endRead()
    }
    queue?.publish()
  }
}

test('a device finds a buffer of another device of the same process by its UUID  @virtio 5.7.6.8', {
  skip,
}, async () => {
  const file = MemoryFile.create('guest memory', 1 << 20)
  const mapping = Mapping.of(file.descriptor, { offset: 0, length: 1 << 20 })
  const buffers = GuestBuffers.open({ device: NO_DRIVER })
  const gpu = new GpuRig({ blob: true, sharing: buffers }, { memory: mapping.regions(0)[0] })
  const other = activateDevice(new Peeping(buffers))
  const page = gpu.page(4096)
  gpu.poke(page, [0x0102_0304, 0x0506_0708])
  // BLOB_MEM_GUEST with USE_CROSS_DEVICE, as a driver creates a blob that it exports.
  assert.equal(gpu.createBlob(1, 4096, [page], 1, 4).type, GpuResponse.OK_NODATA)
  const named = gpu.control(GpuCommand.RESOURCE_ASSIGN_UUID, [1, 0])
  assert.equal(named.type, GpuResponse.OK_RESOURCE_UUID)
  const peep = (): number[] => [...other.send(0, [named.payload], [8]).bytes]
  assert.deepEqual(peep(), [4, 3, 2, 1, 8, 7, 6, 5])
  gpu.poke(page, [0x1112_1314])
  assert.deepEqual(peep().slice(0, 4), [0x14, 0x13, 0x12, 0x11], 'in place')
  gpu.unref(1)
  assert.deepEqual(peep(), [], 'the buffer was released')
  buffers.close()
  mapping.close()
})

test('a device finds a buffer of a device of another process by its UUID, through the front-end’s table', {
  skip,
}, async () => {
  const buffers = new OneBuffer()
  const owner = new VhostUserRig(new EchoDevice(), { objects: new BufferObjects(buffers, assert.fail) })
  const seeker = new VhostUserRig(new EchoDevice(), { objects: new BufferObjects(new OneBuffer(), assert.fail) })
  for (const rig of [owner, seeker]) rig.negotiate()
  const [table, searches] = [new OtherChannel(owner), new OtherChannel(seeker)]
  buffers.buffer.assignUuid(UUID)
  assert.deepEqual(table.next()?.payload, UUID)
  const found: unknown[] = []
  seeker.backend.lookup(UUID, (result) => found.push(result))
  const search = searches.take()
  assert.ok(search)
  const { uuid } = BackEndMessage.SHARED_OBJECT_LOOKUP.request.parse(search.payload)
  const { descriptors } = owner.frontEnd.ask('GET_SHARED_OBJECT', { uuid })
  searches.answer(search, 0, descriptors)
  for (const descriptor of descriptors) descriptor.close()
  const [descriptor] = found
  assert.ok(descriptor instanceof Descriptor)
  assert.equal(fstatSync(descriptor.fd).ino, fstatSync(buffers.file.descriptor.fd).ino)
  descriptor.close()
  for (const closable of [table, searches]) closable.close()
  for (const rig of [owner, seeker]) await rig.close()
})
