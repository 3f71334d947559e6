import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Program } from '../../src/engines/qemu/program.ts'
import type { GuestImage } from '../../src/guest-image/guest-image.ts'
import { BARE_SCREEN } from '../guest/bare-screen.ts'
import { overlay } from './driver-guest.ts'

/** What the GPU offers while nobody wants another size. */
export const SCREEN = { width: 1024, height: 768 } as const
const BYTES_PER_PIXEL = 4

/** What the inner guest draws, in this order. */
const PICTURES = ['first', 'second'] as const

/** All that the outer guest needs for running the inner one: files of this machine's. */
export interface NestedGuest {
  readonly program: Program
  readonly boot: { readonly kernel: string; readonly initrd: string; readonly commandLine: string }
  readonly pictures: readonly string[]
}

/**
 * Prepares a guest that draws pictures of random bytes on its framebuffer, the first at once, each of the others, and its
 * end, when it is given a line on its serial port. It says `drawn NAME` there.
 */
export function makeNestedGuest(program: Program, image: GuestImage, folder: string): NestedGuest {
  const bytes = SCREEN.width * SCREEN.height * BYTES_PER_PIXEL
  const contents = PICTURES.map((name) => [name, randomFillSync(new Uint8Array(bytes))] as const)
  const pictures = contents.map(([name, content]) => {
    const file = path.join(folder, name)
    writeFileSync(file, content)
    return file
  })
  const initrd = path.join(folder, 'initrd')
  const files = overlay({ init: FIRST_PROCESS, ...Object.fromEntries(contents) })
  writeFileSync(initrd, Buffer.concat([readFileSync(image.initrd), files]))
  const commandLine = `${image.commandLine.replace('console=tty0 ', '')} panic=-1`
  return { program, boot: { kernel: image.kernel, initrd, commandLine }, pictures }
}

// Before anything is drawn the console leaves the screen: its text and its cursor would be in the picture.
const FIRST_PROCESS = `#!/bin/busybox sh
/bin/busybox mount -a
echo "Linux $(uname -r)"
modprobe virtio_gpu
${BARE_SCREEN}
dmesg | grep -e features -e frame.buffer
echo "screen of $(cat /sys/class/graphics/fb0/virtual_size) at $(cat /sys/class/graphics/fb0/bits_per_pixel)"
${PICTURES.map((name) => `cat /${name} >/dev/fb0 && echo "drawn ${name}"\nread -r line`).join('\n')}
poweroff -f
`
