import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QueueRig } from './driver/queue-rig.ts'

for (const packed of [false, true]) {
  for (const eventIdx of [false, true]) {
    const kind = `${packed ? 'packed' : 'split'}${eventIdx ? ', event indices' : ''}`
    const awake = () => {
      const rig = new QueueRig({ size: 8, packed, eventIdx })
      const serve = (): number => {
        let served = 0
        for (let chain = rig.queue.pop(); chain; chain = rig.queue.pop()) {
          rig.queue.push(chain, 0)
          served++
        }
        rig.queue.publish()
        return served
      }
      serve()
      let notifications = 0
      const add = () => {
        rig.add([[1]])
        rig.kick(() => notifications++)
      }
      return { rig, serve, add, notifications: () => notifications }
    }

    test(`a driver need not notify a polled queue, except for chains added before polling: ${kind}  @virtio 2.7.10 2.8.10`, () => {
      const { rig, serve, add, notifications } = awake()
      rig.queue.polled = true
      add()
      assert.equal(notifications(), 1, 'notifications were enabled before')
      assert.equal(serve(), 1)
      for (let i = 0; i < 30; i++) {
        add()
        assert.equal(rig.queue.hasWork(), true)
        assert.equal(serve(), 1)
        assert.equal(rig.queue.hasWork(), false)
      }
      assert.equal(notifications(), 1)
      assert.equal(rig.pending, 0)
    })

    test(`after polling the driver must notify again: ${kind}  @virtio 2.7.10 2.8.10`, () => {
      const { rig, serve, add, notifications } = awake()
      rig.queue.polled = true
      add()
      serve()
      add()
      rig.queue.polled = false
      assert.equal(serve(), 1, 'chains added before notifications were enabled are served')
      add()
      assert.equal(notifications(), 2)
      assert.equal(serve(), 1)
    })

    test(`hasWork reports chains that stay in the ring only once: ${kind}`, () => {
      const { rig, add } = awake()
      rig.queue.polled = true
      add()
      assert.equal(rig.queue.hasWork(), true)
      assert.equal(rig.queue.hasWork(), false)
      assert.ok(rig.queue.pop())
    })

    test(`hasWork does not report chains that were popped after a notification: ${kind}`, () => {
      const { rig, serve, add } = awake()
      add()
      serve()
      rig.queue.polled = true
      assert.equal(rig.queue.hasWork(), false)
      add()
      assert.equal(rig.queue.hasWork(), true)
    })

    test(`hasWork returns false for a detached queue: ${kind}`, () => {
      const { rig, add } = awake()
      add()
      rig.queue.detach()
      assert.equal(rig.queue.hasWork(), false)
    })
  }
}
