import { readSync } from 'node:fs'
import { ioctl } from '../../src/host/linux/posix.ts'
import type { Rect } from '../../src/services/rect.ts'
import { pointer, words } from './ioctl.ts'

// Requests of drm/drm.h, with the sizes of their arguments.
const MODE_GETRESOURCES = 0xc040_64a0
const MODE_SETCRTC = 0xc068_64a2
const MODE_GETCONNECTOR = 0xc050_64a7
const MODE_RMFB = 0xc004_64af
const MODE_PAGE_FLIP = 0xc018_64b0
const MODE_DIRTYFB = 0xc018_64b1
const MODE_ADDFB2 = 0xc068_64b8
const PAGE_FLIP_EVENT = 1
const EVENT_SIZE = 32

/** drm_fourcc.h */
export const XR24 = 0x3432_5258

/** Picture in one of the driver's buffers, to show. */
export interface Framebuffer {
  readonly handle: number
  readonly width: number
  readonly height: number
  readonly stride: number
  readonly offset: number
}

/** Only screen of a graphics card, controlled by a program like a compositor. */
export class KernelScreen {
  readonly #connectors = new Uint32Array(16)
  readonly #crtcs = new Uint32Array(16)

  constructor(private readonly fd: number) {
    const lists = [...pointer(this.#crtcs), ...pointer(this.#connectors)]
    ioctl('asking for connectors', fd, MODE_GETRESOURCES, words(0, 0, ...lists, 0, 0, 0, 16, 16, 0, 0, 0, 0, 0))
  }

  /** @returns the id of the framebuffer */
  add({ handle, width, height, stride, offset }: Framebuffer): number {
    const argument = new Uint32Array(26)
    argument.set([0, width, height, XR24, 0, handle])
    argument[9] = stride
    argument[13] = offset
    ioctl('making a framebuffer', this.fd, MODE_ADDFB2, argument)
    return argument[0]
  }

  /** Sets a mode with the size of the framebuffer. */
  show(framebuffer: number, width: number, height: number): void {
    const crtc = new Uint8Array(104)
    const head = [...pointer(this.#connectors), 1, this.#crtcs[0], framebuffer, 0, 0, 0, 1]
    new Uint32Array(crtc.buffer, 0, 9).set(head)
    crtc.set(this.#mode(width, height), 36)
    ioctl('showing a picture', this.fd, MODE_SETCRTC, crtc)
  }

  /** Shows another framebuffer of the same size, and waits until it is shown. */
  flip(framebuffer: number): void {
    ioctl('flipping', this.fd, MODE_PAGE_FLIP, words(this.#crtcs[0], framebuffer, PAGE_FLIP_EVENT, 0, 0, 0))
    readSync(this.fd, new Uint8Array(EVENT_SIZE))
  }

  /** Reports changed pixels of the shown framebuffer. */
  flush(framebuffer: number, { x, y, width, height }: Rect): void {
    const clip = Uint16Array.of(x, y, x + width, y + height)
    ioctl('flushing', this.fd, MODE_DIRTYFB, words(framebuffer, 0, 0, 1, ...pointer(clip)))
  }

  /** Removes the framebuffer, which also ends showing it. */
  remove(framebuffer: number): void {
    ioctl('removing a framebuffer', this.fd, MODE_RMFB, words(framebuffer))
  }

  #mode(width: number, height: number): Uint8Array {
    const modes = new Uint8Array(68 * 64)
    const connector = new Uint32Array(20)
    connector.set(pointer(modes), 2)
    connector[8] = 64
    connector[12] = this.#connectors[0]
    ioctl('asking for modes', this.fd, MODE_GETCONNECTOR, connector)
    const shorts = new DataView(modes.buffer)
    const mode = Array.from({ length: connector[8] }, (_, i) => i * 68).find(
      (at) => shorts.getUint16(at + 4, true) === width && shorts.getUint16(at + 14, true) === height,
    )
    if (mode === undefined) throw new Error(`no mode of ${width} by ${height}`)
    return modes.subarray(mode, mode + 68)
  }
}
