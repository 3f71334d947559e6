import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { vfioUserArguments } from '../../src/engines/qemu/arguments.ts'
import { type GuestImage, GuestImageError, prepareGuestImage } from '../../src/guest-image/guest-image.ts'
import type { Recipe } from '../../src/guest-image/recipe.ts'
import { scratchFolder } from './device-program.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'

const SERVER = fileURLToPath(new URL('../../examples/serve-pattern.js', import.meta.url))
/** Image with the driver that passes interrupts of any PCI device to a program. */
const IMAGE: Recipe<never> = { ...AMD64_IMAGE, modules: [...AMD64_IMAGE.modules, 'uio_pci_generic'] }
/** Memory that the guest's kernel does not use, so that /dev/mem can access it. */
const RESERVED = 0x1000_0000

/** Accesses of a program in the guest: registers, reserved memory, the command register, the interrupt. */
const PROGRAM = `
for device in /sys/bus/pci/devices/*; do [ "$(cat $device/vendor) $(cat $device/device)" = '0x1234 0x5041' ] && break; done
read -r bar rest <$device/resource
register() { busybox devmem $((bar + $1)) 32 $2; }
memory() { busybox devmem $((${RESERVED} + $1)) 32 $2; }
command() { od -An -tx2 -j4 -N2 $device/config; }
set_command() { printf "$1" | dd of=$device/config bs=1 seek=4 conv=notrunc 2>/dev/null; }
interrupts() { timeout 20 dd bs=4 count=1 <&3 2>/dev/null | od -An -tu4; }
pending() { echo $(($(od -An -tu2 -j6 -N2 $device/config) >> 3 & 1)); }
`

const folder = scratchFolder()

test('a program in a guest drives a PCI device that is not virtio: registers, memory it writes, interrupts', async (context) => {
  const image = await imageOrReason()
  if (typeof image === 'string') {
    context.skip(image)
    return
  }
  const socket = path.join(folder, 'pattern.sock')
  const { server, log } = await startServer(socket)
  const guest = await bootPortGuest({
    folder,
    arguments: [
      // If an argument is given twice, QEMU uses the last one.
      ...['-kernel', image.kernel, '-initrd', image.initrd, '-append', `${image.commandLine} memmap=64K$${RESERVED}`],
      ...vfioUserArguments(socket),
    ],
  })
  const run = async (command: string) =>
    (await guest.run(`${PROGRAM}${command}`)).split('\n').map((line) => line.trim().toLowerCase())
  try {
    const [off, on, kept] = await run(
      "set_command '\\0\\0'; register 0 7; echo 1 > $device/enable; register 0; register 0 0x10000004; register 0; command",
    )
    assert.deepEqual([off, on], ['0x00000000', '0x10000004'], 'an access before the bus was enabled got through')
    assert.equal(kept, '0002')

    const clear = 'memory 0 0; memory 4 0; memory 8 0; register 8 0xab; '
    const [refused, pends, untouched, acknowledged, waits] = await run(
      `${clear} register 12 3; register 16; pending; memory 4; register 16 0; register 16; pending`,
    )
    assert.deepEqual([refused, pends, untouched], ['0x00000002', '1', '0x00000000'], 'it wrote without bus mastering')
    assert.deepEqual([acknowledged, waits], ['0x00000000', '0'])

    await run('modprobe uio_pci_generic; echo 1234 5041 > /sys/bus/pci/drivers/uio_pci_generic/new_id')
    const written = await run(
      "exec 3<>/dev/uio0; set_command '\\006\\0'; register 12 3; interrupts; register 16; memory 0; memory 4; memory 8; command",
    )
    assert.deepEqual(written, ['1', '0x00000001', '0x00000000', '0x00ababab', '0x00000000', '0406'])
    // The guest's driver disabled the pin. It is enabled again when the program finishes.
    const again = await run(
      "exec 3<>/dev/uio0; register 16 0; pending; set_command '\\006\\0'; register 12 4; interrupts; memory 4; register 16 0",
    )
    assert.deepEqual(again, ['0', '2', '0xabababab'])
    assert.match(await guest.run('cat /proc/interrupts'), /^ *\d+: +2 .* uio_pci_generic$/m)
  } finally {
    await guest.kill()
    server.kill()
    await once(server, 'exit')
  }
  assert.deepEqual(
    log.filter((line) => /refused|warning|error/.test(line)),
    [],
  )
})

async function startServer(socket: string): Promise<{ server: ChildProcess; log: string[] }> {
  const server = spawn(process.execPath, [SERVER, socket], { stdio: ['ignore', 'ignore', 'pipe'] })
  const log: string[] = []
  const lines = createInterface(server.stderr)
  lines.on('line', (line) => log.push(line))
  await once(lines, 'line')
  return { server, log }
}

async function imageOrReason(): Promise<GuestImage | string> {
  if (qemuMissing) return qemuMissing
  if (vfioUserMissing !== undefined) return vfioUserMissing
  try {
    return await prepareGuestImage(IMAGE)
  } catch (error) {
    if (error instanceof GuestImageError) return error.message
    throw error
  }
}
