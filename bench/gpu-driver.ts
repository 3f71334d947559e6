import { existsSync } from 'node:fs'
import { Udmabuf } from '../src/host/linux/udmabuf/udmabuf.ts'
import { DrmDevice } from '../test/udmabuf/in-guest/drm-device.ts'

const VGEM = '/sys/devices/platform/vgem'

/** What makes dma-bufs, and another driver that imports them. */
export interface Driver {
  readonly udmabuf: Udmabuf
  readonly importer: DrmDevice
}

/** @returns undefined where this machine lacks either */
export function findDriver(): Driver | undefined {
  if (!existsSync('/dev/udmabuf') || !existsSync(VGEM)) return undefined
  return { udmabuf: Udmabuf.open(), importer: new DrmDevice('platform/vgem') }
}
