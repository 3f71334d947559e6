import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { errorCode } from '../../host/node/error-code.ts'
import type { Machine } from '../../machine/machine.ts'

/** Version of the file: changed when the states of the standard devices change. */
const VERSION = 1

/** Files of a guest image in the cache. */
interface CachedImage {
  readonly kernel: string
}

/** Path of the snapshot of an image, which was booted with the standard devices and nothing else. */
function bootedGuestPath({ kernel }: CachedImage): string {
  return path.join(path.dirname(kernel), `booted-${VERSION}.snapshot`)
}

/** Reads the snapshot of a booted image; undefined if it was not saved yet. */
export async function readBootedGuest(image: CachedImage): Promise<Uint8Array | undefined> {
  try {
    return await readFile(bootedGuestPath(image))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Saves a guest as soon as it can execute commands. @throws {Error} if the guest stops, or the file cannot be written */
export async function saveBootedGuest(image: CachedImage, machine: Machine): Promise<void> {
  await machine.exec('true', { stdout() {}, stderr() {} })
  await writeWhole(bootedGuestPath(image), await machine.save())
}

export async function removeBootedGuest(image: CachedImage): Promise<void> {
  await rm(bootedGuestPath(image), { force: true })
}

/** Writes a file that other processes find complete or not at all. */
export async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  const partial = `${file}.${process.pid}`
  try {
    await writeFile(partial, bytes)
    await rename(partial, file)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}
