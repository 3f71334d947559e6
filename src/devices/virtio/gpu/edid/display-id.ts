import type { Timing, TimingAxis } from './timing.ts'

/** Size of one block of an EDID in bytes. */
export const BLOCK_SIZE = 128

/** Identification of a monitor. */
export interface Product {
  /** Three capital letters. */
  readonly vendor: string
  readonly model: number
  readonly serial: number
  /** Year of manufacture. */
  readonly year: number
}

/** Size of a monitor in millimetres. */
export interface PhysicalSize {
  readonly width: number
  readonly height: number
}

/**
 * Returns a DisplayID section as an extension block of an EDID. It holds modes that do not fit the base block: 4096
 * pixels or more, or more than 655.35 MHz.
 *
 *     0x70 | version | length | product type | extensions | data blocks ... 0 | section checksum | block checksum
 *
 * VESA DisplayID 1.3
 */
export function displayIdBlock(preferred: Timing, product: Product, size: PhysicalSize): Uint8Array {
  const block = new Uint8Array(BLOCK_SIZE)
  block.set([
    ...[EXTENSION_TAG, VERSION, SECTION_BYTES, STANDALONE_DISPLAY, 0],
    ...productIdentification(product),
    ...displayParameters(preferred, size),
    ...detailedTiming(preferred),
    ...INTERFACE_FEATURES,
  ])
  block[BLOCK_SIZE - 2] = checksum(block.subarray(1, BLOCK_SIZE - 2))
  block[BLOCK_SIZE - 1] = checksum(block)
  return block
}

/** Returns the byte that makes the sum of all bytes 0 modulo 256. */
export function checksum(bytes: Uint8Array): number {
  return -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff
}

const EXTENSION_TAG = 0x70
const VERSION = 0x13
/** Length of the section: the block without its header and the two checksums. */
const SECTION_BYTES = 121
/** A product type. */
const STANDALONE_DISPLAY = 3

/** Aspect ratios; the index is the code. */
const ASPECTS: readonly (readonly [width: number, height: number])[] = [
  [1, 1],
  [5, 4],
  [4, 3],
  [15, 9],
  [16, 9],
  [16, 10],
  [64, 27],
  [256, 135],
]
const ASPECT_UNDEFINED = 8

/** Data block 0: vendor, product code, serial number, week and year of manufacture, no name. */
function productIdentification({ vendor, model, serial, year }: Product): number[] {
  const letters = [...vendor].map((letter) => letter.charCodeAt(0))
  return [0x00, 0x00, 12, ...letters, ...le16(model), ...le16(serial), ...le16(0), 0, year - 2000, 0]
}

/**
 * Data block 1: size in tenths of a millimetre, pixels, no feature flags, gamma 2.2, aspect ratio, 8 bits per colour.
 */
function displayParameters({ horizontal, vertical }: Timing, size: PhysicalSize): number[] {
  const ratio = Math.max(horizontal.active, vertical.active) / Math.min(horizontal.active, vertical.active)
  return [
    ...[0x01, 0x00, 12],
    ...[...le16(size.width * 10), ...le16(size.height * 10)],
    ...[...le16(horizontal.active), ...le16(vertical.active)],
    ...[0, 120, Math.min(0xff, Math.round((ratio - 1) * 100)), 0x77],
  ]
}

/**
 * Data block 15: DisplayPort 1.1 over one link, 8 bits per colour in RGB, no content protection, no spread spectrum.
 */
const INTERFACE_FEATURES = [0x0f, 0x00, 10, 0xa1, 0x11, 0x02, 0, 0, 0, 0, 0, 0, 0]

/** Data block 3, type I detailed timing. All numbers are stored minus one. */
function detailedTiming(timing: Timing): number[] {
  const { horizontal, vertical } = timing
  const clock = timing.pixelClock - 1
  const ratio = ASPECTS.findIndex(([width, height]) => horizontal.active * height === vertical.active * width)
  const preferred = 0x80
  return [
    ...[0x03, 0x00, 20],
    ...[...le16(clock & 0xffff), clock >>> 16],
    preferred | (ratio < 0 ? ASPECT_UNDEFINED : ratio),
    ...axis(horizontal),
    ...axis(vertical),
  ]
}

function axis({ active, blank, front, sync, positiveSync }: TimingAxis): number[] {
  const polarity = positiveSync ? 0x8000 : 0
  return [...le16(active - 1), ...le16(blank - 1), ...le16((front - 1) | polarity), ...le16(sync - 1)]
}

function le16(value: number): number[] {
  return [value & 0xff, value >>> 8]
}
