import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'

/** Formats of disk images that qemu-nbd serves, with QEMU's names for them. */
export const ImageFormat = {
  QCOW2: 'qcow2',
  VDI: 'vdi',
  VHDX: 'vhdx',
  VMDK: 'vmdk',
  VPC: 'vpc',
} as const
export type ImageFormat = (typeof ImageFormat)[keyof typeof ImageFormat]

/** Format of a disk: raw bytes, or an image format. */
export type DiskFormat = 'raw' | ImageFormat

export const DISK_FORMATS: readonly DiskFormat[] = ['raw', ...Object.values(ImageFormat)]

/** Conventional file name extensions of the formats. */
const EXTENSIONS: Readonly<Partial<Record<string, ImageFormat>>> = {
  '.qcow2': ImageFormat.QCOW2,
  '.vdi': ImageFormat.VDI,
  '.vhd': ImageFormat.VPC,
  '.vhdx': ImageFormat.VHDX,
  '.vmdk': ImageFormat.VMDK,
}

/** Magic numbers of the formats, and their offsets. */
const MAGICS: readonly { readonly at: number; readonly text: string; readonly format: ImageFormat }[] = [
  { at: 0, text: 'QFI\xfb\0\0\0\x02', format: ImageFormat.QCOW2 },
  { at: 0, text: 'QFI\xfb\0\0\0\x03', format: ImageFormat.QCOW2 },
  { at: 0x40, text: '\x7f\x10\xda\xbe', format: ImageFormat.VDI },
  { at: 0, text: 'vhdxfile', format: ImageFormat.VHDX },
  { at: 0, text: 'KDMV', format: ImageFormat.VMDK },
  { at: 0, text: '# Disk DescriptorFile', format: ImageFormat.VMDK },
  { at: 0, text: 'conectix', format: ImageFormat.VPC },
]
const MAGIC_AREA_BYTES = 128

/** Returns the format that the file name extension denotes. The name can be trusted: the guest cannot change it. */
export function formatByName(path: string): ImageFormat | undefined {
  return EXTENSIONS[extname(path).toLowerCase()]
}

/**
 * Returns the format that the first bytes of a file indicate, for warnings only. Never open a file by this format: the
 * guest of a raw disk can write these bytes, and an image can refer to other files of the host.
 */
export function formatByContent(path: string): ImageFormat | undefined {
  const bytes = new Uint8Array(MAGIC_AREA_BYTES)
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    // The error is reported when the image is opened.
    return undefined
  }
  try {
    readSync(fd, bytes, 0, MAGIC_AREA_BYTES, 0)
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
  return MAGICS.find(({ at, text }) => isAt(bytes, at, text))?.format
}

function isAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}
