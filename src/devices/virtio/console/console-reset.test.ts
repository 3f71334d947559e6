import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_INPUT } from './port.ts'
import { ConsoleDriver } from './testing/console-driver.ts'
import { inspectPort, KeepingHost, singlePort, twoPorts, written } from './testing/consoles.ts'

test('a reset returns held requests, drops waiting input, and closes the guest’s ends', async () => {
  const opened: boolean[] = []
  const host = Object.assign(new KeepingHost(), { opened: (open: boolean) => opened.push(open) })
  host.room = 1
  const device = twoPorts(host)
  const rooms: number[] = []
  device.onInputRoom = (port) => rooms.push(port)
  const driver = new ConsoleDriver(device)
  driver.start()
  const held = driver.write(0, [1, 2, 3])
  device.input(0, new Uint8Array(MAX_INPUT + 1))
  assert.equal(written(held), undefined)
  await driver.rig.reset()
  assert.equal(written(held), 0)
  assert.deepEqual(opened, [true, false])
  assert.deepEqual(rooms, [0])
  host.room = 9
  device.resumeOutput(0)
  assert.equal(device.outputPending(0), false)
  assert.deepEqual(host.bytes, [1])
  assert.equal(inspectPort(device, 0).outputDropped, 2)

  const next = new ConsoleDriver(device)
  next.start()
  next.offer(0, 4, 4)
  assert.deepEqual(next.read(0), [], 'input that waited for one driver is not given to another')
  next.write(0, [4])
  assert.deepEqual(host.bytes, [1, 4])
})

test('after a reset within write, the host receives no more output of that driver', async () => {
  const got: number[] = []
  const resets: Promise<void>[] = []
  const device = singlePort({
    write(bytes) {
      got.push(...bytes)
      resets.push(driver.rig.reset())
      return bytes.length
    },
  })
  const driver = new ConsoleDriver(device)
  driver.rig.rigs[1].add([[1], [2]])
  driver.rig.rigs[1].add([[3]])
  driver.kick(0)
  driver.rig.kick(1)
  await Promise.all(resets)
  assert.deepEqual(got, [1])
})

test('a reset of a transmitq returns the held request, whose output comes before that of the next queue  @virtio 2.6.1', () => {
  const host = new KeepingHost()
  host.room = 1
  const device = singlePort(host)
  const driver = new ConsoleDriver(device)
  const held = driver.write(0, [1, 2])
  device.stopQueue(0)
  assert.equal(written(held), undefined)
  device.stopQueue(1)
  assert.equal(written(held), 0)
  const queue = driver.rig.queues[1]
  driver.rig.queues[1] = undefined
  host.room = 9
  device.resumeOutput(0)
  driver.rig.queues[1] = queue
  driver.write(0, [3])
  driver.kick(0)
  assert.deepEqual(host.bytes, [1, 2, 3])
})
