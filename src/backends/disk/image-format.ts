import { closeSync, openSync, readSync } from 'node:fs'
import { extname } from 'node:path'

/** Formats of disk images that are served as QEMU understands them, and how their names end. */
export const ImageFormat = {
  QCOW2: 'qcow2',
  VDI: 'vdi',
  VHDX: 'vhdx',
  VMDK: 'vmdk',
  VPC: 'vpc',
} as const
export type ImageFormat = (typeof ImageFormat)[keyof typeof ImageFormat]

/** How a file is read: as its bytes are, or as an image of a format. */
export type DiskFormat = 'raw' | ImageFormat

export const DISK_FORMATS: readonly DiskFormat[] = ['raw', ...Object.values(ImageFormat)]

/** Ends of names that say a format by custom. */
const EXTENSIONS: Readonly<Partial<Record<string, ImageFormat>>> = {
  '.qcow2': ImageFormat.QCOW2,
  '.vdi': ImageFormat.VDI,
  '.vhd': ImageFormat.VPC,
  '.vhdx': ImageFormat.VHDX,
  '.vmdk': ImageFormat.VMDK,
}

/** What images of a format have at a place near their beginning. */
const MARKS: readonly { readonly at: number; readonly text: string; readonly format: ImageFormat }[] = [
  { at: 0, text: 'QFI\xfb\0\0\0\x02', format: ImageFormat.QCOW2 },
  { at: 0, text: 'QFI\xfb\0\0\0\x03', format: ImageFormat.QCOW2 },
  { at: 0x40, text: '\x7f\x10\xda\xbe', format: ImageFormat.VDI },
  { at: 0, text: 'vhdxfile', format: ImageFormat.VHDX },
  { at: 0, text: 'KDMV', format: ImageFormat.VMDK },
  { at: 0, text: '# Disk DescriptorFile', format: ImageFormat.VMDK },
  { at: 0, text: 'conectix', format: ImageFormat.VPC },
]
const MARKED_BYTES = 128

/** The format that the name of a file says, which is its owner's word. */
export function formatByName(path: string): ImageFormat | undefined {
  return EXTENSIONS[extname(path).toLowerCase()]
}

/**
 * The format that the bytes of a file look like, to warn of. Never a reason to open it as that: what the guest of a raw disk
 * writes there is the guest's word, and an image can name other files of the host.
 */
export function formatByContent(path: string): ImageFormat | undefined {
  const bytes = new Uint8Array(MARKED_BYTES)
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    // The error is reported when the image is opened.
    return undefined
  }
  try {
    readSync(fd, bytes, 0, MARKED_BYTES, 0)
  } catch {
    return undefined
  } finally {
    closeSync(fd)
  }
  return MARKS.find(({ at, text }) => isAt(bytes, at, text))?.format
}

function isAt(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}
