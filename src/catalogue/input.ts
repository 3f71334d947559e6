import type { InputDevice } from '../devices/virtio/input/input.ts'
import { createKeyboard } from '../devices/virtio/input/keyboard.ts'
import { createTablet } from '../devices/virtio/input/tablet.ts'
import { readLines } from '../host/node/read-lines.ts'
import { LogLevel } from '../log/device-log.ts'
import { limitedLog } from '../log/limited-log.ts'
import { GuestKeyboard, GuestPointer } from '../machine/guest-input.ts'
import { INPUT_EVENTS } from '../machine/input-event.ts'
import { DeviceId } from '../virtio/device-id.ts'
import { MessageError, parseMessage } from '../wire/json-message.ts'
import { type DeviceHost, deviceKind, type ServedDevice } from './device-kind.ts'
import { choice, withDefault } from './options.ts'

const KINDS = ['keyboard', 'tablet'] as const

/** Events that a line of standard input can hold. */
const LINES = {
  key: INPUT_EVENTS.key,
  button: INPUT_EVENTS.button,
  pointer: INPUT_EVENTS.pointer,
  wheel: INPUT_EVENTS.wheel,
}

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
      try {
        served.handle?.(parseMessage(LINES, line))
      } catch (error) {
        if (!(error instanceof MessageError)) throw error
        warn(`not an event (${error.message}): ${line.slice(0, 80)}`)
      }
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
