import { writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { encode } from 'fast-png'
import type { Machine, Pixels } from '../../machine/machine.ts'

/** Time without changes after which the screen is complete: drivers flush some time after a program drew. */
const QUIET_MS = 400
const TIMEOUT_MS = 5000

/**
 * Saves the first scanout as PNG, when it has not changed for a moment.
 * @throws {Error} if the screen is off or the file cannot be written
 */
export async function saveScreenshot(machine: Machine, file: string): Promise<void> {
  await quietScreen(machine)
  const pixels = await machine.readPixels(0)
  if (!pixels) throw new Error(`no screenshot in ${file}: the guest's screen is off`)
  await writeFile(file, encodePng(pixels))
}

async function quietScreen(machine: Machine): Promise<void> {
  const start = performance.now()
  let changed = start
  const stopListening = machine.listen({
    damage: () => {
      changed = performance.now()
    },
  })
  try {
    while (performance.now() - changed < QUIET_MS && performance.now() - start < TIMEOUT_MS) await sleep(50)
  } finally {
    stopListening()
  }
}

/** Encodes pixels as PNG with 8 bits a channel, without alpha. */
export function encodePng(pixels: Pixels): Uint8Array {
  const { width, height, data } = pixels
  const rgb = new Uint8Array(width * height * 3)
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from + 2]
    rgb[to + 1] = data[from + 1]
    rgb[to + 2] = data[from]
  }
  return encode({ width, height, data: rgb, channels: 3, depth: 8 })
}
