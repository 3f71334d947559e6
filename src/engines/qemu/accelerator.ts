import { constants } from 'node:fs'
import { access, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Program, runProgram } from '../../guest-image/debian/program.ts'
import { ToolError } from '../../guest-image/debian/tool.ts'
import { makeScratchFolder } from '../../host/node/scratch-folder.ts'

const KVM = '/dev/kvm'
// isa-debug-exit: QEMU exits with twice the value that the guest writes to the port, plus one.
const EXIT_PORT = 0xf4
const EXIT_VALUE = 42
const EXIT_STATUS = EXIT_VALUE * 2 + 1
const ROM_BYTES = 65536
/** Offset in the ROM of the first instruction of an x86 processor. */
const RESET_VECTOR = ROM_BYTES - 16

/**
 * Returns the reason why this host cannot run a guest with KVM; undefined if it can. A tiny guest is tried, because a
 * device file that exists may not run one (nested or filtered KVM).
 */
export async function kvmMissing(qemu: Program): Promise<string | undefined> {
  if (process.arch !== 'x64') return `the processor (${process.arch}) is not x64`
  const processor = await readFile('/proc/cpuinfo', 'latin1').catch(() => '')
  if (!/^flags\b.*\b(vmx|svm)\b/m.test(processor)) return 'the processor has neither VMX nor SVM'
  try {
    await access(KVM, constants.R_OK | constants.W_OK)
  } catch (error) {
    const denied = error instanceof Error && 'code' in error && error.code === 'EACCES'
    return denied ? `no permission to open ${KVM}: join the group kvm` : `there is no ${KVM}`
  }
  const failure = await failureOfTinyGuest(qemu, 'kvm')
  return failure && `a test guest fails: ${failure}`
}

/** Boots a ROM that exits at once. @returns the failure; undefined if it succeeded */
export async function failureOfTinyGuest(qemu: Program, accelerator: 'kvm' | 'tcg'): Promise<string | undefined> {
  const folder = makeScratchFolder('probe')
  try {
    const rom = path.join(folder, 'rom')
    await writeFile(rom, tinyRom())
    const args = ['-accel', accelerator, '-M', 'q35', '-nodefaults', '-display', 'none', '-bios', rom]
    await runProgram(qemu, [...args, '-device', `isa-debug-exit,iobase=${EXIT_PORT}`], AbortSignal.timeout(10_000))
    return 'QEMU ended by itself'
  } catch (error) {
    if (!(error instanceof ToolError)) return 'it does not exit'
    return error.message.includes(`ended with ${EXIT_STATUS}:`) ? undefined : error.message
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

// mov al, value; out port, al; hlt
function tinyRom(): Uint8Array {
  const rom = new Uint8Array(ROM_BYTES).fill(0xf4)
  rom.set([0xb0, EXIT_VALUE, 0xe6, EXIT_PORT, 0xf4], RESET_VECTOR)
  return rom
}
