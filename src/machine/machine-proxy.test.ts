import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type EngineEvents, type MachineEngine, MachineProxy } from './machine-proxy.ts'
import { type MachineCommand, type Report, Stream } from './messages.ts'

/** Engine without behaviour: records commands, and reports what the test sends. */
class HandEngine implements MachineEngine {
  readonly got: MachineCommand[] = []
  #events: EngineEvents | undefined

  start(events: EngineEvents): void {
    this.#events = events
    this.report({ type: 'started' })
  }

  send(command: MachineCommand): void {
    this.got.push(command)
    if (command.type === 'stop') this.report({ type: 'stopped' })
  }

  report(report: Report): void {
    this.#events?.report(report)
  }

  async terminate(): Promise<void> {}

  count(type: MachineCommand['type']): number {
    return this.got.filter((command) => command.type === type).length
  }

  /** Bytes of output that the machine acknowledged. */
  get taken(): number {
    return this.got.reduce((sum, command) => sum + (command.type === 'taken' ? command.bytes : 0), 0)
  }
}

let engine: HandEngine
let machine: MachineProxy

beforeEach(async () => {
  engine = new HandEngine()
  machine = new MachineProxy(engine)
  await machine.start()
})

/** True if a promise is still pending after all other work. */
async function isOpen(promise: void | Promise<void>): Promise<boolean> {
  let open = promise !== undefined
  void promise?.then(() => {
    open = false
  })
  await turn()
  return open
}

/** Sends input until the machine returns a promise. */
function untilHeld(send: () => void | Promise<void>): Promise<void> {
  for (let sent = 0; sent < 1000; sent++) {
    const held = send()
    if (held) return held
  }
  assert.fail('it never asked to wait')
}

test('terminal input of any size is sent to the engine in one message at a time, complete and in order', () => {
  const expected = Uint8Array.from({ length: 1_000_000 }, (_, i) => i % 251)
  for (let at = 0; at < 200_000; at++) machine.writeTerminal(expected.subarray(at, at + 1))
  assert.equal(engine.count('terminal'), 1)
  machine.writeTerminal(new Uint8Array())
  machine.writeTerminal(expected.subarray(200_000))
  const got: Uint8Array[] = []
  for (let command = engine.got.pop(); command; command = engine.got.pop()) {
    assert.ok(command.type === 'terminal' && engine.got.length === 0)
    // Bytes that are posted to another thread are copied with their whole buffer.
    assert.equal(command.bytes.buffer.byteLength, command.bytes.length)
    got.push(command.bytes)
    engine.report({ type: 'typed' })
  }
  assert.ok(Buffer.concat(got).equals(Buffer.from(expected)))
  assert.ok(got.length < 20, `${got.length} messages`)
})

test('terminal input returns a promise while the engine accepts none', async () => {
  const held = untilHeld(() => machine.writeTerminal(new Uint8Array(10_000)))
  assert.ok(await isOpen(held))
  while (await isOpen(held)) engine.report({ type: 'typed' })
  assert.ok(!machine.writeTerminal(new Uint8Array(1)))
})

test('keys return a promise while the engine handles none', async () => {
  const held = untilHeld(() => machine.input({ type: 'key', code: 30, pressed: engine.count('key') % 2 === 0 }))
  const sent = engine.count('key')
  assert.ok(await isOpen(held))
  for (let i = 0; i < sent; i++) engine.report({ type: 'input-handled' })
  assert.ok(!(await isOpen(held)))
  assert.ok(!machine.input({ type: 'pointer', x: 0.5, y: 0.5 }))
})

test('when the guest stops, promises of input resolve', async () => {
  const held = untilHeld(() => machine.input({ type: 'wheel', vertical: 1, horizontal: 0 }))
  const text = machine.writeTerminal(new Uint8Array(1 << 20))
  assert.ok((await isOpen(held)) && (await isOpen(text)))
  engine.report({ type: 'ended', reason: { kind: 'power-off', message: 'off' } })
  assert.ok(!(await isOpen(held)) && !(await isOpen(text)))
  assert.ok(!machine.writeTerminal(new Uint8Array(1 << 20)) && !machine.input({ type: 'key', code: 30, pressed: true }))
  await machine.stop()
})

test('terminal output is acknowledged after every listener accepted it', async () => {
  let take = (): void => {}
  machine.listen({ terminal: () => {} })
  machine.listen({
    terminal: () =>
      new Promise((resolve) => {
        take = resolve
      }),
  })
  engine.report({ type: 'bytes', stream: Stream.TERMINAL, bytes: new Uint8Array(100) })
  await turn()
  assert.equal(engine.taken, 0)
  take()
  await turn()
  assert.equal(engine.taken, 100)
})

test('a command ends after its output was accepted', async () => {
  const takes: (() => void)[] = []
  const hold = (): Promise<void> => new Promise((resolve) => takes.push(resolve))
  let status: number | undefined
  void machine.exec('true', { stdout: hold, stderr: hold }).then((value) => {
    status = value
  })
  await turn()
  engine.report({ type: 'bytes', stream: Stream.STDOUT, bytes: new Uint8Array(10) })
  engine.report({ type: 'bytes', stream: Stream.STDERR, bytes: new Uint8Array(20) })
  engine.report({ type: 'executed', status: 3 })
  await turn()
  assert.deepEqual([status, engine.taken], [undefined, 0])
  takes[1]()
  await turn()
  assert.deepEqual([status, engine.taken], [undefined, 20])
  takes[0]()
  await turn()
  assert.deepEqual([status, engine.taken], [3, 30])
})

test('a machine that stopped logs nothing afterwards', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  const lines: string[] = []
  machine.listen({ log: (line) => lines.push(line) })
  await machine.stop()
  context.mock.timers.tick(60_000)
  assert.deepEqual(lines, [])
})

test('an engine that does not answer a stop is terminated after a time-out, which is logged', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  engine.send = () => {}
  const lines: string[] = []
  machine.listen({ log: (line) => lines.push(line) })
  const stopped = machine.stop()
  context.mock.timers.tick(60_000)
  await stopped
  assert.deepEqual(lines, ['the engine does not answer: terminated with requests in flight'])
})
