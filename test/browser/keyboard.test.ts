import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { linuxKeyCode } from '../../src/web/key-codes.ts'
import { Keyboard, type KeyEvent } from '../../src/web/keyboard.ts'

const HEADER = '/usr/include/linux/input-event-codes.h'
const noHeader = existsSync(HEADER) ? false : `there is no ${HEADER}: apt-get install linux-libc-dev`

function event(code: string, rest: Partial<KeyEvent> = {}): KeyEvent {
  return { code, repeat: false, timeStamp: 0, ctrlKey: false, altKey: false, ...rest }
}

function typing(act: (keyboard: Keyboard) => void): string[] {
  const sent: string[] = []
  act(new Keyboard((code, pressed) => sent.push(`${code} ${pressed ? 'down' : 'up'}`)))
  return sent
}

test('keys have the codes of the Linux header', { skip: noHeader }, () => {
  const header = readFileSync(HEADER, 'utf8')
  const codeOf = (name: string): number => Number(new RegExp(`^#define ${name}\\s+(\\w+)`, 'm').exec(header)?.[1])
  const sameName = [
    ...Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZ', (letter) => [`Key${letter}`, `KEY_${letter}`]),
    ...Array.from('0123456789', (digit) => [`Digit${digit}`, `KEY_${digit}`]),
    ...Array.from('0123456789', (digit) => [`Numpad${digit}`, `KEY_KP${digit}`]),
    ...Array.from({ length: 24 }, (_, i) => [`F${i + 1}`, `KEY_F${i + 1}`]),
    ['Backquote', 'KEY_GRAVE'],
    ['Quote', 'KEY_APOSTROPHE'],
    ['IntlBackslash', 'KEY_102ND'],
    ['AltRight', 'KEY_RIGHTALT'],
    ['MetaLeft', 'KEY_LEFTMETA'],
    ['ContextMenu', 'KEY_COMPOSE'],
    ['PrintScreen', 'KEY_SYSRQ'],
    ['ArrowUp', 'KEY_UP'],
    ['NumpadEnter', 'KEY_KPENTER'],
    ['NonConvert', 'KEY_MUHENKAN'],
    ['AudioVolumeUp', 'KEY_VOLUMEUP'],
  ]
  for (const [here, there] of sameName) assert.equal(linuxKeyCode(here), codeOf(there), here)
})

test('a key the browser cannot name is none', () => {
  for (const code of ['', 'Unidentified', 'constructor', '__proto__']) assert.equal(linuxKeyCode(code), undefined)
})

test('AltGr on Windows, which comes with a Control of its own, is AltGr alone', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('ControlLeft', { timeStamp: 100 }))
    keyboard.down(event('AltRight', { timeStamp: 100 }))
    keyboard.up(event('ControlLeft'))
    keyboard.up(event('AltRight'))
  })
  assert.deepEqual(sent, ['29 down', '29 up', '100 down', '100 up'])
})

test('Control held by hand stays down with AltGr', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('ControlLeft', { timeStamp: 100 }))
    keyboard.down(event('AltRight', { timeStamp: 200 }))
  })
  assert.deepEqual(sent, ['29 down', '100 down'])
})

test('when Meta comes up all keys do, since macOS tells of no other while it is down', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('MetaLeft'))
    keyboard.down(event('KeyC'))
    keyboard.up(event('MetaLeft'))
  })
  assert.deepEqual(sent, ['125 down', '46 down', '125 up', '46 up'])
})

test('a key that comes up without having gone down is nobody to tell of', () => {
  assert.deepEqual(
    typing((keyboard) => keyboard.up(event('KeyA'))),
    [],
  )
})

test('whatever happens, after releasing all no key is down, and downs and ups come in turns', () => {
  const step = fc.record({
    code: fc.constantFrom('KeyA', 'KeyG', 'ShiftLeft', 'ControlLeft', 'AltRight', 'MetaLeft', 'Nothing'),
    isDown: fc.boolean(),
    repeat: fc.boolean(),
    timeStamp: fc.integer({ min: 0, max: 20 }),
    ctrlKey: fc.boolean(),
    altKey: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const down = new Set<number>()
      const keyboard = new Keyboard((code, pressed) => {
        assert.equal(down.has(code), !pressed)
        if (pressed) down.add(code)
        else down.delete(code)
      })
      for (const { isDown, ...key } of steps) {
        if (isDown) keyboard.down(key)
        else keyboard.up(key)
      }
      keyboard.releaseAll()
      assert.equal(down.size, 0)
    }),
  )
})
