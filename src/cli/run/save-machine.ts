import { readFile } from 'node:fs/promises'
import { writeWhole } from '../../engines/v86/booted-guest.ts'
import { errorCode } from '../../host/node/error-code.ts'
import type { Machine } from '../../machine/machine.ts'
import { UsageError } from '../../services/usage-error.ts'

/** Saves a machine in a file. @throws {Error} if it cannot be saved, or the file cannot be written */
export async function saveMachine(machine: Machine, file: string): Promise<void> {
  try {
    // The guest must not write to its disks after it was saved.
    await machine.pause()
    await writeWhole(file, await machine.save())
  } catch (error) {
    throw new Error(`${file} is not saved: ${error instanceof Error ? error.message : error}`)
  }
}

/** Reads the file of a saved machine. @throws {UsageError} */
export async function readSavedMachine(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch (error) {
    throw new UsageError(`cannot read ${file}: ${errorCode(error)}`)
  }
}
