import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommandPort } from './command-port.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** Guest's end of the port, which accepts a given number of bytes at a time. */
class GuestEnd {
  received = ''
  room = Number.POSITIVE_INFINITY
  pending = false
  readonly statuses: number[] = []
  readonly port = new CommandPort({
    send: (sent) => {
      const taken = sent.subarray(0, this.room)
      this.received += new TextDecoder().decode(taken)
      return taken.length
    },
    outputPending: () => this.pending,
    executed: (status) => this.statuses.push(status),
  })
}

test('a command waits for the agent, and is sent in base64 on one line', () => {
  const guest = new GuestEnd()
  guest.port.execute('echo "ä"\nexit 3')
  assert.equal(guest.received, '')
  guest.port.receive(bytes('rea'))
  guest.port.receive(bytes('dy\n'))
  assert.match(guest.received, /^[A-Za-z0-9+/=]+\n$/)
  assert.equal(Buffer.from(guest.received, 'base64').toString(), 'echo "ä"\nexit 3')
})

test('a command longer than the room of the port is sent in parts', () => {
  const guest = new GuestEnd()
  guest.port.receive(bytes('ready\n'))
  guest.room = 10
  const command = 'x'.repeat(100)
  guest.port.execute(command)
  assert.equal(guest.received.length, 10)
  for (let i = 0; i < 20; i++) guest.port.send()
  assert.equal(Buffer.from(guest.received, 'base64').toString(), command)
  assert.ok(guest.received.endsWith('\n'))
})

test('the exit status is reported after all output', () => {
  const guest = new GuestEnd()
  guest.port.receive(bytes('ready\n'))
  guest.port.execute('true')
  guest.pending = true
  guest.port.receive(bytes('7\n'))
  guest.port.flush()
  assert.deepEqual(guest.statuses, [])
  guest.pending = false
  guest.port.flush()
  guest.port.flush()
  assert.deepEqual(guest.statuses, [7])
})

test('an invalid answer of any length does not end the command', () => {
  const guest = new GuestEnd()
  guest.port.receive(bytes('ready\n'))
  guest.port.execute('true')
  for (const noise of ['x\n', '\n', '-1\n', '1234\n', '12 \n', `${'9'.repeat(100_000)}\n`])
    guest.port.receive(bytes(noise))
  assert.deepEqual(guest.statuses, [])
  guest.port.receive(bytes('0\n'))
  assert.deepEqual(guest.statuses, [0])
})
