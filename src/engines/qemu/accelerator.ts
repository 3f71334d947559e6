import { constants } from 'node:fs'
import { access, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type Program, runProgram } from '../../guest-image/debian/program.ts'
import { ToolError } from '../../guest-image/debian/tool.ts'
import { makeScratchFolder } from '../../host/node/scratch-folder.ts'

const KVM = '/dev/kvm'
/** QEMU ends with twice the value the guest writes to its exit port, and one. */
const EXIT_PORT = 0xf4
const EXIT_VALUE = 42
const EXIT_STATUS = EXIT_VALUE * 2 + 1
const ROM_BYTES = 65536
/** Where an x86 processor begins, from the end of the ROM. */
const RESET_VECTOR = ROM_BYTES - 16

/**
 * Why this machine's processor cannot execute a guest itself, or undefined where it can. That is tried: a device file
 * says little, and a nested or filtered one that exists may not run a guest.
 */
export async function kvmMissing(qemu: Program): Promise<string | undefined> {
  if (process.arch !== 'x64') return `the processor (${process.arch}) is not a guest's`
  const processor = await readFile('/proc/cpuinfo', 'latin1').catch(() => '')
  if (!/^flags\b.*\b(vmx|svm)\b/m.test(processor)) return 'the processor has neither VMX nor SVM'
  try {
    await access(KVM, constants.R_OK | constants.W_OK)
  } catch (error) {
    const denied = error instanceof Error && 'code' in error && error.code === 'EACCES'
    return denied ? `${KVM} is not ours to open: join the group kvm` : `there is no ${KVM}`
  }
  const failure = await failureOfTinyGuest(qemu, 'kvm')
  return failure && `a guest of one instruction fails: ${failure}`
}

/** Boots a ROM that ends the machine at once. @returns what went wrong */
export async function failureOfTinyGuest(qemu: Program, accelerator: 'kvm' | 'tcg'): Promise<string | undefined> {
  const folder = makeScratchFolder('probe')
  try {
    const rom = path.join(folder, 'rom')
    await writeFile(rom, tinyRom())
    const args = ['-accel', accelerator, '-M', 'q35', '-nodefaults', '-display', 'none', '-bios', rom]
    await runProgram(qemu, [...args, '-device', `isa-debug-exit,iobase=${EXIT_PORT}`], AbortSignal.timeout(10_000))
    return 'QEMU ended by itself'
  } catch (error) {
    if (!(error instanceof ToolError)) return 'it does not end'
    return error.message.includes(`ended with ${EXIT_STATUS}:`) ? undefined : error.message
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** mov al, value; out port, al; hlt */
function tinyRom(): Uint8Array {
  const rom = new Uint8Array(ROM_BYTES).fill(0xf4)
  rom.set([0xb0, EXIT_VALUE, 0xe6, EXIT_PORT, 0xf4], RESET_VECTOR)
  return rom
}
