import { FileDisk } from '../../backends/disk/file-disk.ts'
import { BlockDevice } from '../../devices/virtio/block/block.ts'
import { EntropyDevice } from '../../devices/virtio/entropy/entropy.ts'
import { GpuDevice } from '../../devices/virtio/gpu/gpu.ts'
import { createKeyboard } from '../../devices/virtio/input/keyboard.ts'
import { createTablet } from '../../devices/virtio/input/tablet.ts'
import { GuestConsole } from '../../machine/guest-console.ts'
import { GuestKeyboard, GuestPointer } from '../../machine/guest-input.ts'
import type { Report } from '../../machine/messages.ts'
import { ViewerDisplay } from '../../machine/viewer-display.ts'
import { cryptoRandomSource } from '../../services/random-source.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { V86MachineOptions } from './options.ts'

/** Size of the screen until the viewer requests another one. */
const SCREEN = { width: 1024, height: 768 }

/** Devices of a guest, and the objects behind them. */
export interface GuestDevices {
  /** All devices, in the order of their slots. */
  readonly all: readonly VirtioDevice[]
  readonly gpu: GpuDevice
  readonly display: ViewerDisplay
  readonly console: GuestConsole
  readonly keyboard: GuestKeyboard
  readonly pointer: GuestPointer
  /** Closes the disks. */
  close(): Promise<void>
}

/**
 * Creates the devices of a guest. To add a device, add it to `all`.
 * @param report receives the devices' reports to the main thread
 * @throws {DiskError} if a disk cannot be opened
 */
export async function createDevices(
  { disks: images = [], blob = true, devices: modules = [] }: V86MachineOptions,
  report: (message: Report) => void,
): Promise<GuestDevices> {
  const log = (line: string): void => report({ type: 'log', line })
  const disks = images.map(({ path, readOnly }) => FileDisk.open(path, { readOnly, log }))
  const blocks = images.map(({ logicalBlockSize }, i) => new BlockDevice(disks[i], { logicalBlockSize }))
  const added = await Promise.all(modules.map(importDevice))
  const display = new ViewerDisplay({
    mode: (scanout, mode) => report({ type: 'mode', scanout, mode }),
    damage: (scanout, rects) => report({ type: 'damage', scanout, rects }),
    cursor: (scanout, cursor) => report({ type: 'cursor', scanout, cursor }),
  })
  const gpu = new GpuDevice(display, { scanouts: [SCREEN], blob })
  const console = new GuestConsole(report)
  const keyboard = createKeyboard({ onLed: (code, on) => report({ type: 'led', code, on }) })
  const tablet = createTablet()
  return {
    all: [gpu, keyboard, tablet, console.device, new EntropyDevice(cryptoRandomSource), ...blocks, ...added],
    gpu,
    display,
    console,
    keyboard: new GuestKeyboard(keyboard),
    pointer: new GuestPointer(tablet),
    async close() {
      await Promise.all(disks.map((disk) => disk.close()))
    },
  }
}

/** @throws {TypeError} if the module has no default function */
async function importDevice(module: URL | string): Promise<VirtioDevice> {
  const { default: create } = await import(String(module))
  if (typeof create !== 'function') throw new TypeError(`${module} must export a function as its default`)
  return await create()
}
