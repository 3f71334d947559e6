import type { InputDevice } from '../devices/virtio/input/input.ts'
import { createKeyboard } from '../devices/virtio/input/keyboard.ts'
import { createTablet } from '../devices/virtio/input/tablet.ts'
import { readLines } from '../host/node/read-lines.ts'
import { LogLevel } from '../log/device-log.ts'
import { limitedLog } from '../log/limited-log.ts'
import { GuestKeyboard, GuestPointer } from '../machine/guest-input.ts'
import type { MachineCommand } from '../machine/messages.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { type DeviceHost, deviceKind, type ServedDevice } from './device-kind.ts'
import { choice, withDefault } from './options.ts'

const KINDS = ['keyboard', 'tablet'] as const

export const inputKind = deviceKind({
  name: 'input',
  id: DeviceId.INPUT,
  summary: 'a keyboard or a tablet; reads its events from standard input, one JSON object a line',
  options: { kind: withDefault(choice(KINDS, 'kind of input device'), 'keyboard') },
  examples: `\
  outboard device input --socket-path=keyboard.sock
  outboard device input --socket-path=tablet.sock --kind=tablet
Events: {"type":"key","code":30,"pressed":true}   {"type":"pointer","x":0.5,"y":0.5}
        {"type":"button","code":272,"pressed":true}   {"type":"wheel","vertical":-1,"horizontal":0}`,
  open: () => undefined,
  build(_opened, { kind }, host) {
    const served = kind === 'keyboard' ? keyboard(host) : tablet()
    if (host.report) return served
    const warn = limitedLog((line) => host.log(LogLevel.WARNING, line))
    readLines(process.stdin, (line) => {
      const command = parseInputCommand(line)
      if (command) served.handle?.(command)
      else warn(`not an event: ${line.slice(0, 80)}`)
    })
    return { ...served, close: () => void process.stdin.pause() }
  },
  commands: ({ kind }) => (kind === 'keyboard' ? ['key'] : ['button', 'pointer', 'wheel']),
  vhostUser: { type: 'input' },
  qemu: { driver: 'vhost-user-input-pci' },
  guestModules: ['virtio_input', 'evdev'],
})

function keyboard({ report, log }: DeviceHost): ServedDevice & { readonly device: InputDevice } {
  const tell = limitedLog((line) => log(LogLevel.INFO, line))
  const device = createKeyboard({
    onLed: (code, on) => {
      if (report) report({ type: 'led', code, on })
      else tell(`light ${code} is ${on ? 'on' : 'off'}`)
    },
  })
  const keys = new GuestKeyboard(device)
  return {
    device,
    handle(command) {
      if (command.type === 'key') keys.key(command.code, command.pressed)
    },
  }
}

function tablet(): ServedDevice {
  const device = createTablet()
  const pointer = new GuestPointer(device)
  return {
    device,
    handle(command) {
      if (command.type === 'pointer') pointer.move(command.x, command.y)
      else if (command.type === 'button') pointer.button(command.code, command.pressed)
      else if (command.type === 'wheel') pointer.wheel(command.vertical, command.horizontal)
    },
  }
}

/**
 * Parses an event: a command of a machine as JSON.
 *
 *     {"type":"key","code":30,"pressed":true}
 *     {"type":"pointer","x":0.5,"y":0.5}
 *     {"type":"button","code":272,"pressed":true}
 *     {"type":"wheel","vertical":-1,"horizontal":0}
 *
 * @returns undefined for anything else
 */
export function parseInputCommand(line: string): MachineCommand | undefined {
  const event = parseObject(line)
  const number = (name: string): number => (typeof event?.[name] === 'number' ? event[name] : Number.NaN)
  switch (event?.['type']) {
    case 'key':
    case 'button': {
      const { type, pressed } = event
      const code = number('code')
      return Number.isInteger(code) && typeof pressed === 'boolean' ? { type, code, pressed } : undefined
    }
    case 'pointer': {
      const [x, y] = [number('x'), number('y')]
      return Number.isFinite(x + y) ? { type: 'pointer', scanout: 0, x, y } : undefined
    }
    case 'wheel': {
      const [vertical, horizontal] = [number('vertical'), number('horizontal')]
      return Number.isFinite(vertical + horizontal) ? { type: 'wheel', vertical, horizontal } : undefined
    }
    default:
      return undefined
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : undefined
  } catch {
    return undefined
  }
}
