import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FLAG_INTERRUPT, type V86Cpu } from './internals.ts'
import { InterruptLines } from './interrupt-lines.ts'

/** The parts of the processor that interrupt lines use, with a record of the calls. */
function processor() {
  const events: string[] = []
  const flags = [FLAG_INTERRUPT | 2]
  const routes = new Uint8Array(256)
  routes.set([10, 10, 11, 0x80], 0x60)
  const note = (what: string) => events.push(`${what}${(flags[0] & FLAG_INTERRUPT) === 0 ? ' hidden' : ''}`)
  const cpu = {
    flags,
    devices: { pci: { isa_bridge_space8: routes } },
    device_raise_irq: (irq: number) => note(`+${irq}`),
    device_lower_irq: (irq: number) => note(`-${irq}`),
  }
  return { lines: new InterruptLines(cpu as unknown as V86Cpu), events, routes, flags }
}

test('an IRQ is high while any pin that is routed to it is asserted', () => {
  const { lines, events } = processor()
  lines.set(0, true) // IRQ 10
  lines.set(1, true) // IRQ 10
  lines.set(0, false)
  assert.deepEqual(events, ['+10'])
  lines.set(2, true) // IRQ 11
  lines.set(1, false)
  assert.deepEqual(events, ['+10', '+11', '-10'])
})

test('disabling or changing a route updates the IRQs', () => {
  const { lines, events, routes } = processor()
  lines.set(3, true) // disabled
  assert.deepEqual(events, [])
  routes[0x63] = 5
  lines.update()
  routes[0x63] = 7
  lines.update()
  assert.deepEqual(events, ['+5', '-5', '+7'])
})

test('during a callback the interrupt flag is cleared while an IRQ changes, and restored afterwards', () => {
  const { lines, events, flags } = processor()
  lines.callbacks++
  lines.set(0, true)
  lines.callbacks--
  lines.set(0, false)
  assert.deepEqual(events, ['+10 hidden', '-10'])
  assert.equal(flags[0], FLAG_INTERRUPT | 2)
})
