import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { linuxKeyCode } from '../../src/web/key-codes.ts'
import { Keyboard, type KeyEvent } from '../../src/web/keyboard.ts'
import type { ModifierFlags } from '../../src/web/lock-keys.ts'

/** Folders of kernel headers: installed ones, or those that `npm test` fetched. */
const INCLUDES = ['/usr/include', ...(process.env['CPATH'] ?? '').split(':')]
const HEADER = INCLUDES.map((folder) => `${folder}/linux/input-event-codes.h`).find(existsSync)
const noHeader = HEADER ? false : 'there is no linux/input-event-codes.h: apt-get install linux-libc-dev'

const KEYS: Record<string, string> = {
  ShiftLeft: 'Shift',
  ShiftRight: 'Shift',
  ControlLeft: 'Control',
  AltLeft: 'Alt',
  AltRight: 'AltGraph',
  MetaLeft: 'Meta',
}

/** Creates an event of a key, with the modifier and lock flags that are set. */
function event(code: string, flags: readonly string[] = [], rest: Partial<KeyEvent> = {}): KeyEvent {
  return {
    code,
    key: KEYS[code] ?? code,
    repeat: false,
    timeStamp: 0,
    ctrlKey: flags.includes('Control'),
    altKey: flags.includes('Alt'),
    getModifierState: (name) => flags.includes(name),
    ...rest,
  }
}

const pointer = (...flags: readonly string[]): ModifierFlags => ({ getModifierState: (name) => flags.includes(name) })

function typing(act: (keyboard: Keyboard) => void): string[] {
  const sent: string[] = []
  act(new Keyboard((code, pressed) => sent.push(`${code} ${pressed ? 'down' : 'up'}`)))
  return sent
}

test('keys have the codes of the Linux header', { skip: noHeader }, () => {
  const header = readFileSync(HEADER ?? '', 'utf8')
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

test('a key without a name is ignored', () => {
  for (const code of ['', 'Unidentified', 'constructor', '__proto__']) assert.equal(linuxKeyCode(code), undefined)
})

test('AltGr on Windows, which is reported with Control, is sent as AltGr only', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('ControlLeft', ['Control'], { timeStamp: 100 }))
    keyboard.down(event('AltRight', ['AltGraph'], { timeStamp: 100 }))
    keyboard.down(event('KeyQ', ['AltGraph', 'Control', 'Alt']))
    keyboard.up(event('KeyQ', ['AltGraph']))
    keyboard.up(event('ControlLeft'))
    keyboard.up(event('AltRight'))
  })
  assert.deepEqual(sent, ['29 down', '29 up', '100 down', '16 down', '16 up', '100 up'])
})

test('Control held by the user stays down with AltGr', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('ControlLeft', ['Control'], { timeStamp: 100 }))
    keyboard.down(event('AltRight', ['AltGraph'], { timeStamp: 200 }))
    keyboard.down(event('KeyQ', ['AltGraph']))
  })
  assert.deepEqual(sent, ['29 down', '100 down', '16 down'])
})

test('releasing Meta releases all keys, since macOS reports no other releases while it is down', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('MetaLeft', ['Meta']))
    keyboard.down(event('KeyC', ['Meta']))
    keyboard.up(event('MetaLeft'))
  })
  assert.deepEqual(sent, ['125 down', '46 down', '125 up', '46 up'])
})

test('a key pressed again without a release is released first', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('MetaLeft', ['Meta']))
    keyboard.down(event('KeyC', ['Meta']))
    keyboard.down(event('KeyC', ['Meta']))
  })
  assert.deepEqual(sent, ['125 down', '46 down', '46 up', '46 down'])
})

test('a modifier that is up by the flags of a later event is released before that event is sent', () => {
  const shifted = typing((keyboard) => {
    keyboard.down(event('ShiftLeft', ['Shift']))
    keyboard.down(event('KeyA'))
  })
  assert.deepEqual(shifted, ['42 down', '42 up', '30 down'])
  const pointed = typing((keyboard) => {
    keyboard.down(event('ShiftLeft', ['Shift']))
    keyboard.compare(pointer('Shift'))
    keyboard.compare(pointer())
  })
  assert.deepEqual(pointed, ['42 down', '42 up'])
  const meta = typing((keyboard) => {
    keyboard.down(event('MetaLeft', ['Meta']))
    keyboard.down(event('Tab', ['Meta']))
    keyboard.compare(pointer())
  })
  assert.deepEqual(meta, ['125 down', '15 down', '125 up', '15 up'])
})

test('both Shift keys are released when the last one reports that none is down', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('ShiftLeft', ['Shift']))
    keyboard.down(event('ShiftRight', ['Shift']))
    keyboard.up(event('ShiftRight'))
  })
  assert.deepEqual(sent, ['42 down', '54 down', '54 up', '42 up'])
})

test('a modifier is identified by its function in the browser, not by its position', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('CapsLock', ['Control'], { key: 'Control' }))
    keyboard.down(event('KeyC', ['Control']))
    keyboard.down(event('AltRight', [], { key: 'Compose' }))
    keyboard.down(event('KeyE'))
  })
  assert.deepEqual(sent, ['58 down', '46 down', '58 up', '100 down', '18 down'])
})

test('a modifier that was pressed in another window is pressed when a key needs it', () => {
  const sent = typing((keyboard) => {
    keyboard.up(event('Tab', ['Meta']))
    keyboard.compare(pointer('Meta'))
    keyboard.down(event('KeyA', ['Shift']))
    keyboard.up(event('ShiftRight'))
  })
  assert.deepEqual(sent, ['42 down', '30 down', '42 up'])
})

const TAP = ['58 down', '58 up']

test('Caps Lock on macOS, reported as a press when switched on and a release when switched off, is tapped each time', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('CapsLock', ['CapsLock']))
    keyboard.up(event('CapsLock'))
    keyboard.down(event('CapsLock', ['CapsLock']))
    keyboard.down(event('KeyA', ['CapsLock']))
    keyboard.up(event('CapsLock'))
    keyboard.compare(pointer())
  })
  assert.deepEqual(sent, [...TAP, ...TAP, ...TAP, '30 down', ...TAP])
})

test('Caps Lock on other systems is pressed and released like other keys, independent of its flag', () => {
  const x11 = typing((keyboard) => {
    keyboard.down(event('CapsLock'))
    keyboard.up(event('CapsLock', ['CapsLock']))
    keyboard.down(event('KeyA', ['CapsLock']))
    keyboard.down(event('CapsLock', ['CapsLock']))
    keyboard.up(event('CapsLock', ['CapsLock']))
    keyboard.down(event('KeyB'))
  })
  assert.deepEqual(x11, ['58 down', '58 up', '30 down', '58 down', '58 up', '48 down'])
  const windows = typing((keyboard) => {
    keyboard.down(event('CapsLock', ['CapsLock']))
    keyboard.up(event('CapsLock', ['CapsLock']))
    keyboard.down(event('CapsLock'))
    keyboard.up(event('CapsLock'))
    keyboard.down(event('KeyA'))
  })
  assert.deepEqual(windows, [...TAP, ...TAP, '30 down'])
})

test('a lock that was switched in another window is switched in the guest with the next event', () => {
  const sent = typing((keyboard) => {
    keyboard.compare(pointer('CapsLock', 'NumLock'))
    keyboard.down(event('KeyA', ['CapsLock', 'NumLock']))
    keyboard.compare(pointer())
  })
  assert.deepEqual(sent, [...TAP, '69 down', '69 up', '30 down', ...TAP, '69 down', '69 up'])
})

test('the state of a lock that the guest switched itself follows its lights', () => {
  const sent = typing((keyboard) => {
    keyboard.locks.lit([1])
    keyboard.down(event('KeyA', ['CapsLock']))
    keyboard.locks.lit([])
    keyboard.down(event('KeyB', ['CapsLock']))
    keyboard.locks.lit([])
    keyboard.down(event('KeyC', ['CapsLock']))
  })
  assert.deepEqual(sent, ['30 down', ...TAP, '48 down', '46 down'])
})

test('locks are not changed if the guest uses Caps Lock for another purpose, or the computer has no Num Lock', () => {
  const sent = typing((keyboard) => {
    keyboard.down(event('CapsLock'))
    keyboard.up(event('CapsLock', ['CapsLock']))
    for (const code of ['KeyA', 'KeyB']) keyboard.down(event(code, ['CapsLock']))
    keyboard.locks.lit([0])
    keyboard.down(event('KeyC', ['CapsLock']))
  })
  assert.deepEqual(sent, ['58 down', '58 up', '30 down', '48 down', '46 down'])
})

test('the release of a key that was not pressed is not sent', () => {
  assert.deepEqual(
    typing((keyboard) => keyboard.up(event('KeyA'))),
    [],
  )
})

test('for random events, presses and releases alternate, and releaseAll leaves no key down', () => {
  const step = fc.record({
    code: fc.constantFrom('KeyA', 'KeyG', 'ShiftLeft', 'ControlLeft', 'AltRight', 'MetaLeft', 'CapsLock', 'Nothing'),
    act: fc.constantFrom('down', 'up', 'compare'),
    flags: fc.subarray(['Shift', 'Control', 'Alt', 'AltGraph', 'Meta', 'CapsLock', 'NumLock']),
    repeat: fc.boolean(),
    timeStamp: fc.integer({ min: 0, max: 20 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const down = new Set<number>()
      const keyboard = new Keyboard((code, pressed) => {
        assert.equal(down.has(code), !pressed)
        if (pressed) down.add(code)
        else down.delete(code)
      })
      for (const { act, code, flags, ...rest } of steps) keyboard[act](event(code, flags, rest))
      keyboard.releaseAll()
      assert.equal(down.size, 0)
    }),
  )
})
