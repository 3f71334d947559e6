import { openSync, readdirSync, realpathSync } from 'node:fs'
import { mapFile } from '../../src/host/linux/address-space.ts'
import { memoryAt } from '../../src/host/linux/ffi.ts'
import { ioctl } from '../../src/host/linux/posix.ts'
import { words } from './ioctl.ts'

// Requests of drm/drm.h, with the sizes of their arguments.
const GEM_CLOSE = 0x4008_6409
const PRIME_HANDLE_TO_FD = 0xc00c_642d
const PRIME_FD_TO_HANDLE = 0xc00c_642e
const MODE_CREATE_DUMB = 0xc020_64b2
const MODE_MAP_DUMB = 0xc010_64b3
const O_RDWR_CLOEXEC = 0x8_0002

/** Buffer of a graphics card. */
export interface CardBuffer {
  readonly handle: number
  /** Stride in bytes, chosen by the card. */
  readonly stride: number
  readonly size: number
}

/** Graphics card of the guest, opened by a program. */
export class Card {
  readonly fd: number

  /** @param path part of the card's path in /sys */
  constructor(path: string) {
    const cards = readdirSync('/sys/class/drm').filter((name) => /^card\d+$/.test(name))
    const card = cards.find((name) => realpathSync(`/sys/class/drm/${name}`).includes(path))
    if (card === undefined) throw new Error(`no card of ${path} among ${cards}`)
    this.fd = openSync(`/dev/dri/${card}`, 'r+')
  }

  create(width: number, height: number): CardBuffer {
    const argument = words(height, width, 32, 0, 0, 0, 0, 0)
    ioctl('making a buffer', this.fd, MODE_CREATE_DUMB, argument)
    return { handle: argument[4], stride: argument[5], size: argument[6] }
  }

  map({ handle, size }: CardBuffer): ArrayBuffer {
    const argument = words(handle, 0, 0, 0)
    ioctl('asking where a buffer is', this.fd, MODE_MAP_DUMB, argument)
    const { address } = mapFile('mapping a buffer', this.fd, argument[2] + argument[3] * 2 ** 32, size)
    return memoryAt(address, size)
  }

  /** @returns a descriptor of the dma-buf */
  export({ handle }: CardBuffer): number {
    const argument = words(handle, O_RDWR_CLOEXEC, 0)
    ioctl('exporting a buffer', this.fd, PRIME_HANDLE_TO_FD, argument)
    return argument[2]
  }

  /** @returns its handle */
  import(dmaBuf: number): number {
    const argument = words(0, 0, dmaBuf)
    ioctl('importing a buffer', this.fd, PRIME_FD_TO_HANDLE, argument)
    return argument[0]
  }

  forget(handle: number): void {
    ioctl('closing a buffer', this.fd, GEM_CLOSE, words(handle, 0))
  }
}
