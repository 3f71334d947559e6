import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { V86 } from 'v86'
import { GuestMemory } from '../../../memory/guest-memory.ts'
import { MemoryRegion } from '../../../memory/memory-region.ts'
import type { PciBus, PciFunction } from '../../../pci/pci-function.ts'
import type { V86Cpu, V86Internals } from './internals.ts'
import { PciSlots } from './pci-slots.ts'

export interface EmulatorOptions {
  readonly memoryMiB: number
  /** Paths of the firmware and kernel files. The kernel is not needed before `restore`. */
  readonly bios: string
  readonly vgaBios: string
  readonly kernel?: string
  readonly initrd?: string
  readonly commandLine: string
  /** Called for each byte on the first serial port. */
  readonly onSerial: (byte: number) => void
  /** Called when the guest resets its processor. */
  readonly onReset: () => void
}

const MIB = 1 << 20
const VGA_MEMORY = 8 * MIB

/**
 * Emulated PC: processor, memory, PCI bus, one serial port. Only this folder depends on v86.
 *
 *     const emulator = await Emulator.create(options)
 *     emulator.plug(8, (bus) => new VirtioPciFunction(device, bus, { memory: emulator.memory, log }))
 *     emulator.run()
 *     await emulator.stop()
 */
export class Emulator {
  readonly memory: GuestMemory
  readonly #emulator: V86
  readonly #slots: PciSlots

  private constructor(emulator: V86, cpu: V86Cpu, onReset: () => void) {
    this.#emulator = emulator
    this.#slots = new PciSlots(cpu)
    // The WebAssembly memory moves when it grows; the offset of guest memory in it is constant.
    const byteOffset = cpu.mem8.byteOffset
    const region = new MemoryRegion(0, cpu.memory_size[0] >>> 0, () => ({ buffer: cpu.wasm_memory.buffer, byteOffset }))
    this.memory = new GuestMemory([region], (address, length) => cpu.jit_dirty_cache(address, address + length))
    // A restart is not possible: devices would keep their state, and the kernel is no longer in memory.
    cpu.reboot_internal = onReset
  }

  /** Loads the files. Runs nothing. */
  static async create(options: EmulatorOptions): Promise<Emulator> {
    const [bios, vgaBios, kernel, initrd] = await Promise.all([
      load(options.bios),
      load(options.vgaBios),
      options.kernel === undefined ? undefined : load(options.kernel),
      options.initrd === undefined ? undefined : load(options.initrd),
    ])
    const emulator = new V86({
      wasm_path: fileURLToPath(import.meta.resolve('v86/build/v86.wasm')),
      memory_size: options.memoryMiB * MIB,
      vga_memory_size: VGA_MEMORY,
      bios,
      vga_bios: vgaBios,
      ...(kernel && { bzimage: kernel }),
      ...(initrd && { initrd }),
      cmdline: options.commandLine,
      autostart: false,
      // An object without a type disables the network card, which is enabled by default.
      net_device: {},
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
    })
    await new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', () => resolve()))
    emulator.add_listener('serial0-output-byte', options.onSerial)
    return new Emulator(emulator, (emulator as unknown as V86Internals).v86.cpu, options.onReset)
  }

  /** Plugs a PCI function into a slot; slots 8 to 15 are free. @param number function number, 0 to 7 */
  plug<Function extends PciFunction>(slot: number, number: number, create: (bus: PciBus) => Function): Function {
    return this.#slots.plug(slot, number, create)
  }

  /** Returns the state of processor, memory and the devices of v86, after `stop`. Functions have states of their own. */
  async save(): Promise<Uint8Array> {
    return new Uint8Array(await this.#emulator.save_state())
  }

  /** Takes a saved state, before `run`. The memory size must be the same. @throws {Error} if it is not valid */
  async restore(state: Uint8Array): Promise<void> {
    await this.#emulator.restore_state(state.slice().buffer)
  }

  async run(): Promise<void> {
    await this.#emulator.run()
  }

  /** Runs a callback that may set interrupt lines while the processor is stopped: it takes interrupts when it runs again. */
  betweenInstructions(callback: () => void): void {
    this.#slots.callback(callback)
  }

  /** Stops the processor. Resolves when no guest code runs. */
  async stop(): Promise<void> {
    if (this.#emulator.is_running()) await this.#emulator.stop()
  }
}

async function load(file: string): Promise<{ buffer: ArrayBuffer }> {
  const bytes = await readFile(file)
  return { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer }
}
