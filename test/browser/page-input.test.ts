import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Page } from 'playwright-core'
import { until } from '../until.ts'
import { canvasSize } from './browser.ts'
import { PageRig, SIZE, skip } from './page-rig.ts'

const rig = new PageRig()

test('keys are sent by their position on the keyboard, with all modifiers, and have no effect in the browser', {
  skip,
}, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  await page.evaluate('window.isSame = true')
  for (const chord of [
    'a',
    'Shift+KeyA',
    'Control+Alt+Delete',
    'AltRight',
    'F5',
    'Tab',
    'Escape',
    'NumpadEnter',
    'Meta',
  ]) {
    await page.keyboard.press(chord)
  }
  assert.deepEqual(
    (await rig.calls(/^key/, 24)).map((call) => call.slice(4)),
    [
      ...['30 down', '30 up'],
      ...['42 down', '30 down', '30 up', '42 up'],
      ...['29 down', '56 down', '111 down', '111 up', '56 up', '29 up'],
      ...['100 down', '100 up', '63 down', '63 up', '15 down', '15 up', '1 down', '1 up', '96 down', '96 up'],
      ...['125 down', '125 up'],
    ],
  )
  assert.equal(await page.evaluate('window.isSame'), true)
  assert.equal(await page.evaluate('document.activeElement.className'), 'screen')
})

test('a key that is held down is pressed once: the guest repeats it', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  for (let i = 0; i < 4; i++) await page.keyboard.down('KeyX')
  await page.keyboard.up('KeyX')
  assert.deepEqual(await rig.calls(/^key/, 2), ['key 45 down', 'key 45 up'])
})

test('all keys are released when the screen loses the focus, or the page is closed', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  await page.keyboard.down('ShiftLeft')
  await page.keyboard.down('KeyA')
  await page.getByRole('button', { name: 'Fit' }).focus()
  assert.deepEqual(await rig.calls(/^key/, 4), ['key 42 down', 'key 30 down', 'key 30 up', 'key 42 up'])
  await page.keyboard.up('KeyA')
  await page.keyboard.up('ShiftLeft')
  await page.locator('.screen').focus()
  await page.keyboard.down('ControlLeft')
  await rig.calls(/^key 29 down/, 1)
  await page.close()
  await rig.calls(/^key 29 up/, 1)
})

test('Ctrl+Alt+G returns the keyboard to the page, and releases all keys in the guest', { skip }, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  assert.ok(await page.getByText('gives the keyboard back').isVisible())
  await page.keyboard.press('Control+Alt+KeyG')
  assert.deepEqual(await rig.calls(/^key/, 4), ['key 29 down', 'key 56 down', 'key 56 up', 'key 29 up'])
  assert.equal(await page.evaluate('document.activeElement.id'), 'fit')
})

test('all controls can be reached with the Tab key, and have names', { skip }, async () => {
  const page = await rig.open()
  const reached: string[] = []
  for (let i = 0; i < 10; i++) {
    await page.keyboard.press('Tab')
    reached.push(String(await page.evaluate('document.activeElement.id || document.activeElement.className')))
  }
  assert.deepEqual(reached, [
    ...['fit', 'follow', 'full-screen', 'ctrl-alt-del', 'paste', 'screenshot'],
    ...['show-terminal', 'show-log', 'show-inspector', 'screen'],
  ])
  for (const button of await page.getByRole('button').all()) assert.ok((await button.innerText()).trim() !== '')
  const label = await page.locator('.screen').getAttribute('aria-label')
  assert.equal(label, 'Screen 1 of the guest, 320 by 200 pixels')
})

test('the button sends Ctrl+Alt+Del', { skip }, async () => {
  const page = await rig.open()
  await page.getByRole('button', { name: 'Ctrl+Alt+Del' }).click()
  assert.deepEqual(await rig.calls(/^key/, 6), [
    ...['key 29 down', 'key 56 down', 'key 111 down'],
    ...['key 111 up', 'key 56 up', 'key 29 up'],
  ])
})

test('the pointer has the right position on the guest at any scale, and buttons are sent in order', {
  skip,
}, async () => {
  const page = await rig.open()
  for (const isFit of [true, false]) {
    if (!isFit) await page.getByRole('button', { name: 'Fit' }).click()
    rig.machine.calls.length = 0
    const box = await page.locator('canvas').boundingBox()
    assert.ok(box)
    if (!isFit) assert.deepEqual([box.width, box.height], [SIZE.width, SIZE.height])
    await page.mouse.move(box.x + box.width / 4, box.y + box.height / 2)
    for (const button of ['left', 'right', 'middle'] as const) {
      await page.mouse.down({ button })
      await page.mouse.up({ button })
    }
    await rig.calls(/^button/, 6)
    const first = rig.machine.calls.find((call) => call.startsWith('pointer')) ?? ''
    const [, , x, y] = first.split(' ').map(Number)
    assert.ok(Math.abs(x - 0.25) < 0.01 && Math.abs(y - 0.5) < 0.01, first)
    assert.deepEqual(await rig.calls(/^button/, 6), [
      ...['button 0x110 down', 'button 0x110 up', 'button 0x111 down', 'button 0x111 up'],
      ...['button 0x112 down', 'button 0x112 up'],
    ])
    assert.ok(rig.machine.calls.indexOf(first) < rig.machine.calls.indexOf('button 0x110 down'))
  }
})

test('a drag continues outside the screen, and can end there', { skip }, async () => {
  const page = await rig.open()
  const box = await page.locator('canvas').boundingBox()
  assert.ok(box)
  await page.mouse.move(box.x + 5, box.y + 5)
  await page.mouse.down()
  await page.mouse.move(box.x - 50, box.y + box.height + 30)
  await page.mouse.up()
  await rig.calls(/^button 0x110 up/, 1)
  assert.ok(rig.machine.calls.includes('pointer 0 0.000 1.000'), rig.machine.calls.join())
})

test('the wheel turns away from the user and to the right', { skip }, async () => {
  const page = await rig.open()
  await page.locator('canvas').hover()
  await page.mouse.wheel(0, -100)
  await rig.calls(/^wheel/, 1)
  await page.mouse.wheel(50, 0)
  assert.deepEqual(await rig.calls(/^wheel/, 2), ['wheel 1.000 0.000', 'wheel 0.000 0.500'])
})

test('the screen fills the display until full screen is left', { skip }, async () => {
  const page = await rig.open()
  await page.getByRole('button', { name: 'Full screen' }).click()
  await page.locator('#stage:fullscreen').waitFor()
  assert.equal(await page.evaluate('document.activeElement.className'), 'screen')
  await page.keyboard.press('Control+Alt+KeyG')
  await until('no full screen', async () => (await page.evaluate('document.fullscreenElement')) === null)
})

test('the guest follows the size of the window if enabled', { skip }, async () => {
  const page = await rig.open()
  await page.getByRole('button', { name: 'Follow window' }).click()
  await rig.calls(/^resize/, 1)
  await page.setViewportSize({ width: 1000, height: 700 })
  await until('a canvas as wide as the window allows', async () => (await canvasSize(page))[0] === 1000 - 24)
  const box = await page.locator('canvas').boundingBox()
  assert.deepEqual([box?.width, box?.height], await canvasSize(page))
})

/** Dispatches an event that the browser's keyboard cannot generate: with locks, or after lost releases. */
async function dispatch(page: Page, type: string, target: string, init: object): Promise<void> {
  const constructors: Record<string, string> = { key: 'KeyboardEvent', poi: 'PointerEvent', whe: 'WheelEvent' }
  const options = JSON.stringify({ bubbles: true, cancelable: true, ...init })
  const event = `new ${constructors[type.slice(0, 3)]}('${type}', ${options})`
  await page.evaluate(`document.querySelector('${target}').dispatchEvent(${event})`)
}

test('Caps Lock stays equal in the guest if the browser reports only presses or releases, as on macOS', {
  skip,
}, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  const capsLock = { code: 'CapsLock', key: 'CapsLock' }
  await dispatch(page, 'keydown', '.screen', { ...capsLock, modifierCapsLock: true })
  assert.deepEqual(await rig.calls(/^key/, 2), ['key 58 down', 'key 58 up'])
  await dispatch(page, 'keyup', '.screen', capsLock)
  assert.deepEqual((await rig.calls(/^key/, 4)).slice(2), ['key 58 down', 'key 58 up'])
  await dispatch(page, 'pointermove', 'canvas', { modifierCapsLock: true })
  assert.deepEqual((await rig.calls(/^key/, 6)).slice(4), ['key 58 down', 'key 58 up'])
})

test('a Shift whose release was not reported is released with the next event of key, pointer or wheel', {
  skip,
}, async () => {
  const page = await rig.open()
  await page.locator('.screen').focus()
  const shift = { code: 'ShiftLeft', key: 'Shift', shiftKey: true }
  for (const [type, target, init] of [
    ['keydown', '.screen', { code: 'KeyA', key: 'a' }],
    ['pointermove', 'canvas', {}],
    ['wheel', 'canvas', { deltaY: 100 }],
  ] as const) {
    rig.machine.calls.length = 0
    await dispatch(page, 'keydown', '.screen', shift)
    await rig.calls(/^key 42 down/, 1)
    await dispatch(page, type, target, init)
    const keys = await rig.calls(/^key/, 2)
    assert.deepEqual(keys.slice(0, 2), ['key 42 down', 'key 42 up'])
    await dispatch(page, 'keyup', '.screen', { code: 'KeyA', key: 'a' })
  }
})

test('Shift that was pressed before the screen had the focus is pressed for a click', { skip }, async () => {
  const page = await rig.open()
  await page.getByRole('button', { name: 'Fit' }).focus()
  await page.keyboard.down('Shift')
  await page.locator('canvas').click()
  await page.keyboard.up('Shift')
  const calls = await rig.calls(/^(key|button)/, 4)
  assert.deepEqual(calls, ['key 42 down', 'button 0x110 down', 'button 0x110 up', 'key 42 up'])
})
