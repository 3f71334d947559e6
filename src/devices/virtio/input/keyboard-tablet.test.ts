import assert from 'node:assert/strict'
import { test } from 'node:test'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { EV_ABS, EV_KEY, EV_LED, EV_REL, EV_REP, LED_CAPSL, LED_NUML } from './event-codes.ts'
import { createKeyboard } from './keyboard.ts'
import { ConfigSelect } from './protocol.ts'
import { ABS_MAX, createTablet } from './tablet.ts'

/** Returns the codes of an event type that a device lists. */
function codes(device: ReturnType<typeof createTablet>, type: number): number[] {
  device.config.write(0, 2, ConfigSelect.EV_BITS | (type << 8))
  const found: number[] = []
  for (let code = 0; code < 8 * device.config.read(2, 1); code++) {
    if ((device.config.read(8 + (code >> 3), 1) >> (code & 7)) & 1) found.push(code)
  }
  return found
}

test('a keyboard has the keys by which udev detects keyboards, media keys, and no buttons', () => {
  const keys = codes(createKeyboard({ onLed: () => {} }), EV_KEY)
  // All of the first 32 except KEY_RESERVED: ID_INPUT_KEYBOARD.
  for (let key = 1; key < 32; key++) assert.ok(keys.includes(key))
  // Control, F12, right Alt, Delete, Mute, Power, left Meta, Next song, Play, F24, Print, Mic mute.
  for (const key of [29, 88, 100, 111, 113, 116, 125, 163, 164, 194, 210, 248]) assert.ok(keys.includes(key))
  assert.ok(!keys.includes(0))
  assert.ok(keys.every((key) => key < 0x100))
})

test('a keyboard has EV_REP, three lights, and no axes', () => {
  const keyboard = createKeyboard({ onLed: () => {} })
  assert.deepEqual(codes(keyboard, EV_REP), [0, 1])
  assert.deepEqual(codes(keyboard, EV_LED), [0, 1, 2])
  assert.deepEqual(codes(keyboard, EV_REL), [])
  assert.deepEqual(codes(keyboard, EV_ABS), [])
})

test('onLed is called for status events of lights only', () => {
  const lights: [number, boolean][] = []
  const rig = activateDevice(createKeyboard({ onLed: (code, on) => lights.push([code, on]) }))
  rig.send(1, [[EV_LED, 0, LED_CAPSL, 0, 1, 0, 0, 0, EV_LED, 0, LED_NUML, 0, 0, 0, 0, 0]])
  rig.send(1, [[EV_LED, 0, 3, 0, 1, 0, 0, 0]])
  rig.send(1, [[EV_REP, 0, 0, 0, 250, 0, 0, 0]])
  assert.deepEqual(lights, [
    [LED_CAPSL, true],
    [LED_NUML, false],
  ])
})

test('a key press is one event and SYN_REPORT', () => {
  const keyboard = createKeyboard({ onLed: () => {} })
  const rig = activateDevice(keyboard)
  const event = rig.submit(0, [], [8])
  const report = rig.submit(0, [], [8])
  keyboard.send([[EV_KEY, 30, 1]])
  assert.deepEqual([...(event.reply?.bytes ?? [])], [1, 0, 30, 0, 1, 0, 0, 0])
  assert.deepEqual([...(report.reply?.bytes ?? [])], [0, 0, 0, 0, 0, 0, 0, 0])
})

test('a tablet is a mouse to udev and an absolute pointer to libinput, without properties', () => {
  const tablet = createTablet()
  assert.deepEqual(codes(tablet, EV_KEY), [0x110, 0x111, 0x112, 0x113, 0x114])
  assert.deepEqual(codes(tablet, EV_ABS), [0, 1])
  assert.deepEqual(codes(tablet, EV_REL), [6, 8, 11, 12])
  for (const axis of [0, 1]) {
    tablet.config.write(0, 2, ConfigSelect.ABS_INFO | (axis << 8))
    assert.equal(tablet.config.read(2, 1), 20)
    assert.equal(tablet.config.read(8, 4), 0)
    assert.equal(tablet.config.read(12, 4), ABS_MAX)
  }
  tablet.config.write(0, 2, ConfigSelect.PROP_BITS)
  assert.equal(tablet.config.read(2, 1), 0)
})

test('keyboard and tablet have different names and product ids', () => {
  const devices = [createKeyboard({ onLed: () => {} }), createTablet()]
  assert.deepEqual(
    devices.map((device) => device.name),
    ['Outboard keyboard', 'Outboard tablet'],
  )
  const products = devices.map((device) => {
    device.config.write(0, 2, ConfigSelect.ID_DEVIDS)
    return device.config.read(12, 2)
  })
  assert.deepEqual(products, [1, 2])
})
