import { randomFillSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Program } from '../../src/guest-image/debian/program.ts'
import type { GuestImage } from '../../src/guest-image/guest-image.ts'
import { BARE_SCREEN } from '../guest/bare-screen.ts'
import { overlay } from './driver-guest.ts'

/** Default preferred mode of the GPU. */
export const SCREEN = { width: 1024, height: 768 } as const
const BYTES_PER_PIXEL = 4

/** Images that the inner guest draws, in order. */
const IMAGES = ['first', 'second'] as const

/** Files of this machine that the outer guest needs to run the inner one. */
export interface NestedGuest {
  readonly program: Program
  readonly boot: { readonly kernel: string; readonly initrd: string; readonly commandLine: string }
  readonly images: readonly string[]
}

/**
 * Prepares a guest that writes random bytes to its framebuffer: the first image at once, the second and the end each
 * after a line on its serial port. It writes `drawn NAME` there.
 */
export function makeNestedGuest(program: Program, image: GuestImage, folder: string): NestedGuest {
  const bytes = SCREEN.width * SCREEN.height * BYTES_PER_PIXEL
  const contents = IMAGES.map((name) => [name, randomFillSync(new Uint8Array(bytes))] as const)
  const images = contents.map(([name, content]) => {
    const file = path.join(folder, name)
    writeFileSync(file, content)
    return file
  })
  const initrd = path.join(folder, 'initrd')
  const files = overlay({ init: FIRST_PROCESS, ...Object.fromEntries(contents) })
  writeFileSync(initrd, Buffer.concat([readFileSync(image.initrd), files]))
  const commandLine = `${image.commandLine.replace('console=tty0 ', '')} panic=-1`
  return { program, boot: { kernel: image.kernel, initrd, commandLine }, images }
}

// The console must leave the screen first: otherwise its text and cursor are part of the image.
const FIRST_PROCESS = `#!/bin/busybox sh
/bin/busybox mount -a
echo "Linux $(uname -r)"
modprobe virtio_gpu
${BARE_SCREEN}
dmesg | grep -e features -e frame.buffer
echo "screen of $(cat /sys/class/graphics/fb0/virtual_size) at $(cat /sys/class/graphics/fb0/bits_per_pixel)"
${IMAGES.map((name) => `cat /${name} >/dev/fb0 && echo "drawn ${name}"\nread -r line`).join('\n')}
poweroff -f
`
