import { outputOf, type Program, systemProgram } from './program.ts'
import { findUnpackedQemu, type PrepareOptions, unpackQemu } from './unpacked-qemu.ts'

const NBD_SERVER = 'qemu-nbd'

/** Finds the server of disk images in QEMU's formats: this machine's, or an unpacked one. */
export async function findNbdServer(): Promise<Program | undefined> {
  const unpacked = findUnpackedQemu()
  for (const program of [systemProgram(NBD_SERVER), unpacked?.program(NBD_SERVER)]) {
    if (program && (await outputOf(program, ['--version'])) !== undefined) return program
  }
  return undefined
}

/**
 * Fetches the server of disk images unless there is one.
 * @throws {QemuError}
 */
export async function prepareNbdServer(options: PrepareOptions = {}): Promise<void> {
  if (!(await findNbdServer())) await unpackQemu(options)
}
