import assert from 'node:assert/strict'
import { test } from 'node:test'
import { UsageError } from '../services/usage-error.ts'
import { DeviceRouter, type RoutedDevice } from './device-router.ts'
import type { MachineCommand } from './messages.ts'

const GPU = ['resize', 'damage-taken', 'read-in-place', 'read-pixels'] as const
const CONSOLE = ['terminal', 'resize-terminal', 'execute', 'taken'] as const

const devices: readonly RoutedDevice[] = [
  { id: 'gpu', commands: GPU },
  { id: 'keyboard', commands: ['key'] },
  { id: 'tablet', commands: ['button', 'pointer', 'wheel'] },
  { id: 'console', commands: CONSOLE },
  { id: 'gpu-0', commands: GPU },
  { id: 'input-1', commands: ['key'] },
]
const [gpu, keyboard, , , secondGpu, secondKeyboard] = devices
const router = new DeviceRouter(devices)

function routeOf(command: MachineCommand): [string, MachineCommand] | undefined {
  const routed = router.route(command)
  return routed && [routed.device.id, routed.command]
}

test('a command goes to the first device that handles it', () => {
  const key = { type: 'key', code: 30, pressed: true } as const
  assert.deepEqual(routeOf(key), ['keyboard', key])
  const pointer = { type: 'pointer', scanout: 16, x: 0, y: 1 } as const
  assert.deepEqual(routeOf(pointer), ['tablet', pointer])
  assert.deepEqual(routeOf({ type: 'execute', command: 'ls' })?.[0], 'console')
})

test('a command with the id of a device goes to that device, if it handles it', () => {
  const key = { type: 'key', device: 'input-1', code: 30, pressed: true } as const
  assert.deepEqual(routeOf(key), ['input-1', key])
  assert.equal(routeOf({ ...key, device: 'tablet' }), undefined)
  assert.equal(routeOf({ ...key, device: 'none' }), undefined)
})

test('a command about a screen goes to the GPU that has the scanout, with the number of that GPU', () => {
  assert.deepEqual(routeOf({ type: 'damage-taken', scanout: 3 }), ['gpu', { type: 'damage-taken', scanout: 3 }])
  const resize = { type: 'resize', scanout: 17, width: 640, height: 480 } as const
  assert.deepEqual(routeOf(resize), ['gpu-0', { ...resize, scanout: 1 }])
  assert.equal(routeOf({ ...resize, scanout: 32 }), undefined)
})

test('reports about screens have the numbers of the machine', () => {
  const mode = { type: 'mode', scanout: 1, mode: { width: 640, height: 480 } } as const
  assert.deepEqual(router.report(gpu, mode), mode)
  assert.deepEqual(router.report(secondGpu, mode), { ...mode, scanout: 17 })
  assert.deepEqual(router.report(secondGpu, { type: 'cursor', scanout: 0, cursor: undefined }), {
    type: 'cursor',
    scanout: 16,
    cursor: undefined,
  })
  const log = { type: 'log', line: 'text' } as const
  assert.equal(router.report(secondGpu, log), log)
})

test('the lights of a further keyboard have its id', () => {
  const led = { type: 'led', code: 1, on: true } as const
  assert.deepEqual(router.report(keyboard, led), led)
  assert.deepEqual(router.report(secondKeyboard, led), { ...led, device: 'input-1' })
})

test('a second console is refused', () => {
  assert.throws(() => new DeviceRouter([...devices, { id: 'console-2', commands: CONSOLE }]), UsageError)
})
