import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../../host/linux/errno.ts'
import { EventFd } from '../../host/linux/event-fd.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { IrqFlag, IrqIndex, IrqSet } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'
import type { VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSet
const MSIX_ENABLE = 0x8000_0000
const MSIX_FUNCTION_MASK = 0x4000_0000

/** Starts a driver with one vector for each of two queues, and the events of three vectors. */
async function withVectors(): Promise<{ rig: VfioUserRig; events: EventFd[]; control: (bits: number) => void }> {
  const rig = echoRig()
  const driver = rig.plug()
  const events = rig.listen(IrqIndex.MSIX, 3)
  const at = driver.capabilities.find(({ id }) => id === 0x11)?.at ?? 0
  const control = (bits: number): void => driver.pci.configWrite(at, 4, bits)
  control(MSIX_ENABLE)
  assert.equal(await driver.negotiate(featureSet(Feature.VERSION_1)), true)
  driver.setUpQueue(0, 0, 1)
  driver.setUpQueue(1, 0, 2)
  driver.set('device_status', 15)
  return { rig, events, control }
}

function drained(rig: VfioUserRig, events: readonly EventFd[]): number[] {
  rig.reactor.turn()
  return events.map((event) => event.drain())
}

/** Reads the pending bits, which follow the MSI-X table. */
function pending(rig: VfioUserRig): number {
  return rig.driver.readBar(1, 3 * 16, 4)
}

test('the number of interrupts of each index is that in configuration space  @vfio-user DEVICE_GET_IRQ_INFO', {
  skip,
}, async () => {
  const rig = echoRig()
  rig.greet()
  const info = [0, 1, 2, 3, 4].map((index) => {
    const request = { argsz: 16, flags: 0, index, count: 0, bytes: new Uint8Array(0) }
    const { flags, count } = rig.client.ask('DEVICE_GET_IRQ_INFO', request).value
    return [flags, count]
  })
  const { EVENTFD, MASKABLE, AUTOMASKED } = IrqFlag
  assert.deepEqual(info, [
    [EVENTFD | MASKABLE | AUTOMASKED, 1],
    [EVENTFD | MASKABLE, 0],
    [EVENTFD | MASKABLE, 3],
    [EVENTFD, 1],
    [EVENTFD, 0],
  ])
  await rig.close()
})

test('INTx is signalled once, and again when it is unmasked while asserted  @vfio-user DEVICE_SET_IRQS', {
  skip,
}, async () => {
  const rig = echoRig()
  await rig.start()
  const events = rig.listen(IrqIndex.INTX, 1)
  const unmask = () => rig.setIrqs(DATA_NONE | ACTION_UNMASK, IrqIndex.INTX, 0, 1)
  rig.echo(0, [1])
  rig.echo(0, [2])
  assert.deepEqual(drained(rig, events), [1], 'it masked itself')
  unmask()
  assert.deepEqual(drained(rig, events), [1], 'the ISR status was not read')
  rig.driver.isr()
  unmask()
  assert.deepEqual(drained(rig, events), [0])
  rig.echo(0, [3])
  assert.deepEqual(drained(rig, events), [1])
  rig.setIrqs(DATA_NONE | ACTION_MASK, IrqIndex.INTX, 0, 1)
  rig.driver.isr()
  rig.echo(0, [4])
  assert.deepEqual(drained(rig, events), [0], 'masked')
  const again = rig.listen(IrqIndex.INTX, 1)
  assert.deepEqual(drained(rig, again), [1], 'a new event is signalled while INTx is asserted')
  await rig.close()
})

test('an unmask event unmasks INTx', { skip }, async () => {
  const rig = echoRig()
  await rig.start()
  const events = rig.listen(IrqIndex.INTX, 1)
  const unmask = EventFd.create('unmask')
  rig.setIrqs(DATA_EVENTFD | ACTION_UNMASK, IrqIndex.INTX, 0, 1, [unmask])
  rig.echo(0, [1])
  assert.deepEqual(drained(rig, events), [1])
  unmask.signal()
  assert.deepEqual(drained(rig, events), [1])
  rig.driver.isr()
  unmask.signal()
  assert.deepEqual(drained(rig, events), [0])
  rig.setIrqs(DATA_EVENTFD | ACTION_UNMASK, IrqIndex.INTX, 0, 1)
  unmask.signal()
  rig.reactor.turn()
  assert.equal(unmask.drain(), 1, 'the event was removed')
  unmask.close()
  await rig.close()
})

test('a vector without an event stays pending, and is signalled when it has one', { skip }, async () => {
  const { rig, events } = await withVectors()
  rig.setIrqs(DATA_EVENTFD | ACTION_TRIGGER, IrqIndex.MSIX, 1, 2)
  rig.echo(0, [1])
  rig.echo(0, [2])
  assert.deepEqual(drained(rig, events), [0, 0, 0])
  assert.equal(pending(rig), 2)
  const [, again] = rig.listen(IrqIndex.MSIX, 2)
  assert.deepEqual(drained(rig, [again]), [1])
  assert.equal(pending(rig), 0)
  await rig.close()
})

test('vectors are masked one by one by the client, or together by the function mask', { skip }, async () => {
  const { rig, events, control } = await withVectors()
  rig.setIrqs(DATA_NONE | ACTION_MASK, IrqIndex.MSIX, 1, 1)
  rig.echo(0, [1])
  rig.echo(1, [1])
  assert.deepEqual(drained(rig, events), [0, 0, 1])
  assert.equal(pending(rig), 2)
  rig.setIrqs(DATA_NONE | ACTION_UNMASK, IrqIndex.MSIX, 0, 3)
  assert.deepEqual(drained(rig, events), [0, 1, 0])
  control(MSIX_ENABLE | MSIX_FUNCTION_MASK)
  rig.echo(0, [2])
  assert.deepEqual(drained(rig, events), [0, 0, 0])
  control(MSIX_ENABLE)
  assert.deepEqual(drained(rig, events), [0, 1, 0])
  await rig.close()
})

test('ACTION_TRIGGER signals interrupts', { skip }, async () => {
  const { rig, events } = await withVectors()
  const trigger = DATA_BOOL | ACTION_TRIGGER
  rig.setIrqs(DATA_NONE | ACTION_TRIGGER, IrqIndex.MSIX, 1, 2)
  assert.deepEqual(drained(rig, events), [0, 1, 1])
  const request = { argsz: 23, flags: trigger, index: IrqIndex.MSIX, start: 0, count: 3, bytes: Uint8Array.of(1, 0, 1) }
  rig.client.ask('DEVICE_SET_IRQS', request)
  assert.deepEqual(drained(rig, events), [1, 0, 1])
  await rig.close()
})

test('an event for the error interrupt is accepted and never signalled', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  const events = rig.listen(IrqIndex.ERR, 1)
  assert.deepEqual(drained(rig, events), [0])
  await rig.close()
})

test('invalid DEVICE_SET_IRQS is refused, and its descriptors are closed', { skip }, async () => {
  const { rig, events } = await withVectors()
  const one = EventFd.create('an event')
  const file = MemoryFile.create('no event', 4096)
  const [a, b] = [one.descriptor, file.descriptor]
  const before = openDescriptors()
  const none = new Uint8Array(0)
  const set = { argsz: 20, flags: DATA_NONE | ACTION_TRIGGER, index: 2, start: 0, count: 1, bytes: none }
  const eventfd = DATA_EVENTFD | ACTION_TRIGGER
  for (const [part, descriptors = []] of [
    [{ argsz: 19 }],
    [{ index: 5 }],
    [{ index: 0xffff_ffff }],
    [{ flags: ACTION_MASK | ACTION_UNMASK | DATA_NONE }],
    [{ flags: ACTION_MASK | DATA_NONE | DATA_BOOL }],
    [{ flags: ACTION_TRIGGER }],
    [{ flags: DATA_NONE }],
    [{ flags: 0 }],
    [{ flags: DATA_NONE | ACTION_TRIGGER | 0x40 }],
    [{ start: 2, count: 2 }],
    [{ start: 3 }],
    [{ start: 1, count: 0xffff_ffff }],
    [{ index: 1 }],
    [{ index: IrqIndex.ERR, flags: DATA_NONE | ACTION_MASK }],
    [{ index: IrqIndex.ERR, count: 2 }],
    [{ start: 1, count: 0 }],
    [{ flags: DATA_NONE | ACTION_MASK, count: 0 }],
    [{ flags: DATA_BOOL | ACTION_TRIGGER, count: 0 }],
    [{ flags: DATA_BOOL | ACTION_TRIGGER, count: 2, bytes: new Uint8Array(1) }],
    [{ flags: DATA_BOOL | ACTION_TRIGGER, count: 2, bytes: new Uint8Array(3) }],
    [{ bytes: new Uint8Array(1) }],
    [{ flags: DATA_BOOL | ACTION_TRIGGER, bytes: new Uint8Array(1) }, [a]],
    [{}, [a]],
    [{ flags: eventfd, count: 2 }, [a]],
    [{ flags: eventfd, count: 1 }, [a, a]],
    [{ flags: eventfd, count: 1 }, [b]],
    [{ flags: eventfd, count: 2 }, [a, b]],
    [{ flags: DATA_EVENTFD | ACTION_MASK, count: 1 }, [a]],
    [{ flags: DATA_EVENTFD | ACTION_UNMASK, count: 1 }, [a]],
    [{ flags: DATA_EVENTFD | ACTION_UNMASK, index: 0, count: 1 }, [b]],
  ] as [Partial<typeof set>, (typeof a)[]?][]) {
    assert.equal(
      rig.client.refusal('DEVICE_SET_IRQS', { ...set, ...part }, descriptors),
      Errno.EINVAL,
      JSON.stringify(part),
    )
  }
  assert.equal(openDescriptors(), before)
  rig.echo(0, [1])
  assert.deepEqual(drained(rig, events), [0, 1, 0], 'the interrupts are unchanged')
  one.close()
  file.close()
  await rig.close()
})
