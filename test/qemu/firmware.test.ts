import assert from 'node:assert/strict'
import path from 'node:path'
import { before, test } from 'node:test'
import { DEVICE_TRANSPORTS } from '../../src/device-process/socket.ts'
import type { Firmware } from '../../src/engines/qemu/arguments.ts'
import { prepareUefi } from '../../src/engines/qemu/firmware.ts'
import { QemuError } from '../../src/guest-image/debian/qemu-error.ts'
import {
  ImageToolsMissing,
  kernelCommands,
  makeBootableImage,
  makeNetworkLoader,
  SERIAL_CONSOLE,
} from './bootable-image.ts'
import { scratchFolder } from './device-program.ts'
import { FirmwareMachine, type FirmwareMachineOptions } from './firmware-machine.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'

const folder = scratchFolder()
const disk = path.join(folder, 'disk.img')
const skip = qemuMissing ?? false

// Order of the boot
//
//   UEFI   network: GRUB -> disk: GRUB -> Linux
//   BIOS   disk: GRUB -> disk: iPXE -> network: GRUB -> Linux
//
const FROM_DISK = `echo 'GRUB: booting from the disk'
if [ "$grub_platform" = efi ]; then
${kernelCommands('')}
fi
linux16 /boot/ipxe.lkrn
boot
`
const FROM_NETWORK = `${SERIAL_CONSOLE}echo 'GRUB: booting from the network'
if [ "$grub_platform" = efi ]; then
chainloader (hd0,msdos2)/EFI/BOOT/BOOTX64.EFI
boot
fi
${kernelCommands('')}`

let firmwares: Readonly<Record<'uefi' | 'bios', Pick<FirmwareMachineOptions, 'firmware' | 'files' | 'bootFile'>>>
/** Reason why there is no image to boot. */
let missing: string | undefined

async function prepare(kind: 'uefi' | 'bios', firmware: Firmware) {
  const loader = await makeNetworkLoader(kind, folder)
  const files = new Map([
    ['loader', loader],
    ['grub.cfg', Buffer.from(FROM_NETWORK)],
  ])
  return { firmware, files, bootFile: 'loader' }
}

before(async () => {
  if (skip) return
  try {
    await makeBootableImage(disk, '', FROM_DISK)
    firmwares = { uefi: await prepare('uefi', { file: await prepareUefi() }), bios: await prepare('bios', {}) }
  } catch (error) {
    if (!(error instanceof ImageToolsMissing || error instanceof QemuError)) throw error
    missing = error.message
  }
})

type Change = (argument: string) => string

/** Makes the network card the first boot device. */
const networkFirst: Change = (argument) =>
  argument.replace(/(bootindex"?[=:])([01])/, (_, name, index) => `${name}${1 - index}`)
const transitional: Change = (argument) => argument.replace(',disable-legacy=on', '')
const legacyOnly: Change = (argument) => argument.replace(',disable-legacy=on', ',disable-modern=on')

async function bootsAll(options: FirmwareMachineOptions): Promise<void> {
  const machine = new FirmwareMachine()
  try {
    await machine.start(options)
    await machine.shows(/GRUB: booting from the disk.*outboard: devices ready/s)
    assert.match(machine.output, /GRUB: booting from the network/)
    assert.deepEqual([...machine.sent], ['loader', 'grub.cfg'])
    assert.doesNotMatch(machine.log.join('\n'), /waits:|needs a reset|refused/)
  } finally {
    await machine.close()
  }
}

for (const transport of DEVICE_TRANSPORTS) {
  const unable = skip || (transport === 'vfio-user' && vfioUserMissing) || false

  test(`OVMF boots from the network and a disk, with GRUB, over ${transport}`, { skip: unable }, async (t) => {
    if (missing !== undefined) return t.skip(missing)
    await bootsAll({ transport, disk, ...firmwares.uefi, change: networkFirst })
  })

  test(`SeaBIOS boots from a disk and iPXE from the network, with GRUB, over ${transport}`, {
    skip: unable,
  }, async (t) => {
    if (missing !== undefined) return t.skip(missing)
    await bootsAll({ transport, disk, ...firmwares.bios })
  })
}

test('firmware that drives a transitional function as virtio 0.9.5 does not block', { skip }, async (t) => {
  if (missing !== undefined) return t.skip(missing)
  const change: Change = (argument) => transitional(networkFirst(argument))
  await bootsAll({ transport: 'vhost-user', disk, ...firmwares.uefi, change })
})

test('firmware, iPXE and Linux drive a legacy function', { skip }, async (t) => {
  if (missing !== undefined) return t.skip(missing)
  await bootsAll({ transport: 'vhost-user', disk, ...firmwares.bios, change: legacyOnly })
})
