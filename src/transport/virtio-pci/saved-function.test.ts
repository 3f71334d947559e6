import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SavedState } from '../../snapshot/saved-state.ts'
import { SnapshotError } from '../../snapshot/snapshot-error.ts'
import { decodeState, encodeState } from '../../snapshot/state-codec.ts'
import { Feature, featureSet } from '../../virtio/feature.ts'
import { mutateState } from '../../virtio/testing/contract/mutate-state.ts'
import { Random } from '../../virtio/testing/contract/random.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { EchoMachine } from './testing/echo-machine.ts'
import { CommonField } from './testing/virtio-pci-driver.ts'

const MSIX_BAR = 1
const MSIX_CAPABILITY = 0x11
const ENABLE = 0x8000
const CONTROL = 12
const VECTORS = 3

/** Saves the function of a machine, as bytes. */
function save({ pci }: EchoMachine): Uint8Array {
  assert.equal(pci.suspend(), undefined)
  return encodeState(pci.save()).slice()
}

/** Returns a machine whose function continues where that of another one was saved. */
function moved(source: EchoMachine, messages = false): EchoMachine {
  const bytes = save(source)
  const machine = new EchoMachine({ source, messages })
  machine.pci.suspend()
  machine.pci.restore(decodeState(bytes))
  machine.pci.resume()
  return machine
}

function writeMessage({ driver }: EchoMachine, vector: number, masked: boolean): void {
  driver.writeBar(MSIX_BAR, 16 * vector, 4, 0x1000)
  driver.writeBar(MSIX_BAR, 16 * vector + 8, 4, vector)
  driver.writeBar(MSIX_BAR, 16 * vector + CONTROL, 4, Number(masked))
}

/** Machine with MSI-X on: vector v sends data v. Queue 0 has vector 1, queue 1 vector 2. */
async function withMessages(): Promise<EchoMachine> {
  const machine = new EchoMachine({ messages: true })
  const { driver, pci } = machine
  for (let vector = 0; vector < VECTORS; vector++) writeMessage(machine, vector, false)
  const at = driver.capabilities.find(({ id }) => id === MSIX_CAPABILITY)?.at
  assert.ok(at)
  pci.configWrite(at + 2, 2, ENABLE)
  await driver.negotiate(featureSet(Feature.VERSION_1))
  driver.set('config_msix_vector', 0)
  driver.setUpQueue(0, 0, 1)
  driver.setUpQueue(1, 0, 2)
  driver.set('device_status', 15)
  return machine
}

test('a restored function has the registers and the configuration space of the saved one', async () => {
  const source = await withMessages()
  source.pci.configWrite(0x3c, 1, 11)
  source.pci.configWrite(0x10, 4, 0xd000_0000)
  source.driver.set('driver_feature_select', 1)
  source.driver.set('queue_select', 1)
  const machine = moved(source, true)
  for (let offset = 0; offset < 256; offset++) {
    // The data of the PCI_CFG capability are read from a BAR.
    assert.equal(machine.pci.configRead(offset, 1), source.pci.configRead(offset, 1), `byte ${offset}`)
  }
  for (const name of Object.keys(CommonField) as CommonField[]) {
    assert.equal(machine.driver.get(name), source.driver.get(name), name)
  }
  for (let offset = 0; offset < 16 * VECTORS; offset += 4) {
    assert.equal(machine.driver.readBar(MSIX_BAR, offset, 4), source.driver.readBar(MSIX_BAR, offset, 4))
  }
  assert.equal(machine.pci.bars[0]?.address, 0xd000_0000)
  assert.equal(machine.moves, 2, 'its BARs moved when its driver placed them, and when it was restored')
})

test('a restored function serves the rings of the saved one, with the same vectors', async () => {
  const source = await withMessages()
  assert.deepEqual(source.echo(0, [1]), [1])
  const machine = moved(source, true)
  assert.deepEqual(machine.echo(0, [2]), [2])
  assert.deepEqual(machine.echo(1, [3]), [3])
  assert.deepEqual(machine.messages, [
    [0x1000, 1],
    [0x1000, 2],
  ])
})

test('requests that wait in a suspended function are answered by the restored one', async () => {
  const source = await withMessages()
  source.pci.suspend()
  source.send(0, [7])
  assert.deepEqual(source.messages, [])
  const machine = moved(source, true)
  assert.deepEqual(machine.messages, [[0x1000, 1]])
  assert.equal(machine.driver.queues[0].collect(), true)
})

test('a pending vector is sent by the restored function when the driver unmasks it', async () => {
  const source = await withMessages()
  writeMessage(source, 1, true)
  source.echo(0, [1])
  assert.deepEqual(source.messages, [])
  const machine = moved(source, true)
  assert.deepEqual(machine.messages, [])
  writeMessage(machine, 1, false)
  assert.deepEqual(machine.messages, [[0x1000, 1]])
})

test('a restored function asserts the pin that the saved one asserted, until the driver reads the ISR status', async () => {
  const source = new EchoMachine()
  await source.driver.start()
  source.echo(0, [1])
  assert.equal(source.asserted, true)
  const machine = moved(source)
  assert.equal(machine.asserted, true)
  assert.equal(machine.pci.configRead(6, 2) & 8, 8)
  assert.equal(machine.driver.isr(), 1)
  assert.equal(machine.asserted, false)
})

test('a function that was not suspended is not saved', async () => {
  const machine = new EchoMachine()
  await machine.driver.start()
  assert.throws(() => machine.pci.save(), SnapshotError)
})

/** Functions whose state this one does not take. */
const OTHERS: Readonly<Record<string, () => EchoMachine>> = {
  'another number of queues': () => new EchoMachine({ device: new EchoDevice({ queueSizes: [64] }) }),
  'MSI-X': () => new EchoMachine({ messages: true }),
}

for (const [what, make] of Object.entries(OTHERS)) {
  test(`the state of a function with ${what} is refused, and changes nothing`, async () => {
    const state = decodeState(save(make()))
    const machine = new EchoMachine()
    await machine.driver.start()
    machine.pci.suspend()
    const before = encodeState(machine.pci.save()).slice()
    assert.throws(() => machine.pci.restore(state), SnapshotError)
    assert.deepEqual(encodeState(machine.pci.save()), before)
    machine.pci.resume()
    assert.deepEqual(machine.echo(0, [5]), [5])
  })
}

test('a state that was altered is refused or restored, and the function serves after a reset', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const random = new Random(seed)
  const source = await withMessages()
  source.echo(0, [1])
  const state: SavedState = decodeState(save(source))
  for (let round = 0; round < 300; round++) {
    const machine = new EchoMachine({ messages: true })
    machine.pci.suspend()
    try {
      machine.pci.restore(mutateState(state, random))
    } catch (error) {
      assert.ok(error instanceof SnapshotError, `with seed ${seed}: ${error}`)
    }
    machine.pci.resume()
    machine.pci.reset()
    machine.driver.enable()
    await machine.driver.start()
    assert.deepEqual(machine.echo(0, [round & 0xff]), [round & 0xff], `with seed ${seed}, round ${round}`)
  }
})
