/** Outboard in Node: machines that run guests, the images they boot from, disks in files, and the page that shows them. */

// Disks in files
export { DiskError } from './backends/disk/disk-error.ts'
export { FileDisk } from './backends/disk/file-disk.ts'
// Kinds of devices
export type {
  DeviceHost,
  DeviceKind,
  QemuFrontEnd,
  Served,
  ServedDevice,
  ServedGroups,
} from './catalogue/device-kind.ts'
export { deviceKind } from './catalogue/device-kind.ts'
export { AMD64_IMAGE, I386_IMAGE, withDrivers } from './catalogue/guest-images.ts'
export { addPlugins, kindNames, loadKind, loadKinds } from './catalogue/index.ts'
export type { AddedDevice } from './catalogue/machine-device.ts'
export { type OpenDevice, openDevice } from './catalogue/open-device.ts'
export {
  choice,
  type DeviceOption,
  flag,
  integer,
  list,
  type OptionTable,
  type OptionValues,
  optionalText,
  parsed,
  parseSettings,
  type Settings,
  text,
  unless,
  withDefault,
} from './catalogue/options.ts'
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
export { AMD64_RECIPE, I386_RECIPE, type Recipe } from './guest-image/recipe.ts'
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
