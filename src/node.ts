/** Outboard in Node: machines that run guests, the images they boot from, disks in files, and the page that shows them. */

// Disks in files
export { DiskError } from './backends/disk/disk-error.ts'
export { FileDisk } from './backends/disk/file-disk.ts'
export { AMD64_IMAGE, I386_IMAGE } from './catalogue/guest-images.ts'
// The page
export { type ConsoleServer, serveConsole } from './console/server.ts'
// Machines
export { createQemuMachine, type QemuMachineOptions } from './engines/qemu/machine.ts'
export { prepareQemu, type Qemu } from './engines/qemu/qemu.ts'
export { createV86Machine } from './engines/v86/machine.ts'
export type { V86MachineOptions } from './engines/v86/options.ts'
export type { PrepareOptions } from './guest-image/debian/unpacked-qemu.ts'
// Guest images
export { type GuestImage, GuestImageError, prepareGuestImage } from './guest-image/guest-image.ts'
export type { Recipe } from './guest-image/recipe.ts'
export type {
  Cursor,
  ExecOutput,
  Inspection,
  Machine,
  MachineListener,
  Pixels,
  ScanoutMode,
  StopReason,
} from './machine/machine.ts'
