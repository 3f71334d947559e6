/** `npm run picture [-- FILE]`: the README's picture, taken of the page in Chromium with a real guest behind it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { I386_IMAGE } from '../src/catalogue/guest-images.ts'
import { serveConsole } from '../src/console/server.ts'
import { createV86Machine } from '../src/engines/v86/machine.ts'
import { prepareGuestImage } from '../src/guest-image/guest-image.ts'
import { launchBrowser, openPage } from '../test/browser/browser.ts'

const file = process.argv[2] ?? 'docs/page.png'

/** Typed on the guest's screen: what is there to see. (The test's keyboard presses no Shift by itself.) */
const COMMANDS = [
  'uname -srm',
  'ls -l /dev/fb0 /dev/hwrng /dev/hvc0',
  'dd if=/dev/hwrng of=/tmp/random bs=64 count=1',
  'hexdump /tmp/random',
]

const image = await prepareGuestImage(I386_IMAGE, { onProgress: ({ step }) => process.stderr.write(`${step}\n`) })
const machine = createV86Machine({ ...image, memoryMiB: 256, disks: [] })
await machine.start()
const quiet = { stdout: () => {}, stderr: () => {} }
await machine.exec('true', quiet)
const server = await serveConsole(machine, { port: 0 })
const browser = await launchBrowser()
try {
  const page = await openPage(browser, server.url, [])
  await page.setViewportSize({ width: 1440, height: 1000 })
  await page.getByRole('button', { name: 'Inspector', exact: true }).click()
  await page.locator('canvas').first().click()
  for (const command of COMMANDS) {
    await page.keyboard.type(command, { delay: 30 })
    await page.keyboard.press('Enter')
    await sleep(1500)
  }
  machine.writeTerminal(new TextEncoder().encode('ps | head -5; stty size\n'))
  await sleep(3000)
  await page.screenshot({ path: file })
} finally {
  await browser.close()
  await server.close()
  await machine.stop()
}
